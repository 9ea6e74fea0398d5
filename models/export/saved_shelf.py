"""Saves a version again whose shelf was changed: the same graph to the byte, other variables.

`tf.saved_model.save` would trace every signature again.
"""

from __future__ import annotations

import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any

import tensorflow as tf

from models.export.saved_graph import write_fingerprint
from models.shelf.pushed_columns import SHELF, attribute_of, checkpoint_of


def save_shelf(model: Any, base: Path, folder: Path) -> None:
    """Write it, with all that lies beside the graph of the version that it was.

    Args:
        model: what was saved in `base`, or loaded from there.
        base: folder of that version.
        folder: of the new one, which does not exist yet.
    """
    before, after = checkpoint_of(base), checkpoint_of(folder)
    variables = Path(after).parent
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns(variables.name))
    variables.mkdir()
    dtype_of = tf.train.load_checkpoint(before).get_variable_to_dtype_map()
    kept = [name for name in dtype_of if not name.startswith(SHELF)]
    columns = [name for name in dtype_of if name.startswith(SHELF)]
    tensors = tf.raw_ops.RestoreV2(
        prefix=before, tensor_names=kept, shape_and_slices=[""] * len(kept),
        dtypes=[dtype_of[name] for name in kept],
    )  # fmt: skip
    changed = [attrgetter(attribute_of(name))(model).read_value() for name in columns]
    tf.raw_ops.SaveV2(
        prefix=after, tensor_names=[*kept, *columns], shape_and_slices=[""] * len(dtype_of),
        tensors=[*tensors, *changed],
    )  # fmt: skip
    write_fingerprint(folder)
