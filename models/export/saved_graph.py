"""Saves a served model's graph, without what no runtime reads and what is computed twice.

`tf.saved_model.save` notes the output shapes of each op, a third of all attributes. In functions,
whoever loads them infers these again. But TensorFlow copies all attributes of all functions many
times at every load, for each signature that it compiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# TensorFlow has no public function for it; a stock server logs what the file says.
from tensorflow.python.saved_model import fingerprinting_utils

from models.export.computed_once import compute_once

_SHAPES: Final = "_output_shapes"


def save_graph(module: tf.Module, folder: Path, signatures: Mapping[str, Any]) -> None:
    """Save a module as `tf.saved_model.save` does, in a smaller file.

    Args:
        module: to save.
        folder: to write.
        signatures: name to function.
    """
    # Nobody asks a served model for gradients of its own making, and the search takes a while.
    saving = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=dict(signatures), options=saving)
    file = folder / tf.saved_model.SAVED_MODEL_FILENAME_PB
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for part in saved.meta_graphs:
        for function in part.graph_def.library.function:
            for node in function.node_def:
                node.attr.pop(_SHAPES, None)
            compute_once(function)
    file.write_bytes(saved.SerializeToString(deterministic=True))
    write_fingerprint(folder)


def write_fingerprint(version: Path) -> None:
    """Write what tells a saved graph from others beside it.

    Args:
        version: folder of a SavedModel.
    """
    fingerprinting_utils.write_fingerprint(str(version))
