"""Columns of a pushed version's shelf, without its graph: to load a whole model takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf


def open_columns(version: Path) -> Callable[[str], npt.NDArray[Any]]:
    """What reads a column by its name in `models.shelf.ShelfData`.

    Args:
        version: folder of the version. Products that came after its training are there too.

    Raises:
        tf.errors.OpError or ValueError: there is no such version; the reader, no such column.
    """
    checkpoint = tf.train.load_checkpoint(str(version / "variables" / "variables"))

    def read(name: str) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = checkpoint.get_tensor(
            f"_shelf/{name}/.ATTRIBUTES/VARIABLE_VALUE"
        )
        return column

    return read
