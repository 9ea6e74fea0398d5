"""Saves a loaded SavedModel whose shelf was changed: the same graph to the byte, other variables.

`tf.saved_model.save` would trace every signature again.
"""

from __future__ import annotations

import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import tensorflow as tf

# TensorFlow has no public function for it; a stock server logs what the file says.
from tensorflow.python.saved_model import fingerprinting_utils

_SHELF: Final = "_shelf/"
_VALUE: Final = "/.ATTRIBUTES/VARIABLE_VALUE"
_VARIABLES: Final = "variables"


def save_model(model: Any, base: Path, folder: Path) -> None:
    """Write it, with all that lies beside the graph of the version it was loaded from.

    Args:
        model: the loaded SavedModel.
        base: folder it was loaded from.
        folder: of the new one, which does not exist yet.
    """
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns(_VARIABLES))
    (folder / _VARIABLES).mkdir()
    before, after = (str(version / _VARIABLES / _VARIABLES) for version in (base, folder))
    dtype_of = tf.train.load_checkpoint(before).get_variable_to_dtype_map()
    kept = [name for name in dtype_of if not name.startswith(_SHELF)]
    columns = [name for name in dtype_of if name.startswith(_SHELF)]
    tensors = tf.raw_ops.RestoreV2(
        prefix=before, tensor_names=kept, shape_and_slices=[""] * len(kept),
        dtypes=[dtype_of[name] for name in kept],
    )  # fmt: skip
    tf.raw_ops.SaveV2(
        prefix=after, tensor_names=[*kept, *columns],
        shape_and_slices=[""] * len(dtype_of),
        tensors=[*tensors, *(_column(model, name) for name in columns)],
    )  # fmt: skip
    fingerprinting_utils.write_fingerprint(str(folder))


def _column(model: Any, name: str) -> tf.Tensor:
    path = name.removesuffix(_VALUE).replace("/", ".")
    return attrgetter(path)(model).read_value()
