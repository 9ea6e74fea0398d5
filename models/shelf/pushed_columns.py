"""Columns of a pushed version's shelf, without its graph: to load a whole model takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import tensorflow as tf

SHELF: Final = "_shelf/"
"""What the names of columns, and of nothing else, begin with in a version's checkpoint."""
_VALUE: Final = "/.ATTRIBUTES/VARIABLE_VALUE"


def checkpoint_of(version: Path) -> str:
    """Where a version's variables are, as TensorFlow names it."""
    return str(version / "variables" / "variables")


def attribute_of(key: str) -> str:
    """The attribute of a loaded model that a checkpoint names by a key, such as `_shelf.of.row`."""
    return key.removesuffix(_VALUE).replace("/", ".")


def open_columns(version: Path) -> Callable[[str], npt.NDArray[Any]]:
    """What reads a column by its name in `models.shelf.shelf.ShelfData`.

    Args:
        version: folder of the version. Products that came after its training are there too.

    Raises:
        tf.errors.OpError or ValueError: there is no such version; the reader, no such column.
    """
    checkpoint = tf.train.load_checkpoint(checkpoint_of(version))

    def read(name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = checkpoint.get_tensor(f"{SHELF}{name}{_VALUE}")
        return column

    return read
