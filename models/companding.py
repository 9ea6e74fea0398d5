"""Matrices of 8 bits whose entries spread widely: the roots of magnitudes, with a scale a row.

Of co-purchase scores most are a hundredth of the greatest of their row. In even steps a third of
them would become 0; in steps of the root what is small has small steps, as in the companding of
speech (ITU-T G.711). Only rows that are looked up are made real numbers, with stock ops.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Floats

_LARGEST: Final = 127


def rooted(matrix: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round a matrix [m, n] to whole numbers q from -127 to 127.

    Returns:
        int8 [m, n] and a scale float32 [m]: scale · q · |q| is the matrix, to a 127th of the root
        of the product of an entry and the greatest of its row.
    """
    greatest = np.abs(matrix).max(axis=1, initial=0.0)
    share = matrix / np.where(greatest > 0.0, greatest, 1.0)[:, np.newaxis]
    whole = np.rint(np.copysign(np.sqrt(np.abs(share)), share) * _LARGEST)
    return whole.astype(np.int8), (greatest / _LARGEST**2).astype(np.float32)


def squared(whole: npt.NDArray[np.int8], scale: Floats) -> Floats:
    """What `rooted` stands for: float32 [m, n]."""
    root = whole.astype(np.float32)
    matrix: Floats = root * np.abs(root) * scale[:, np.newaxis]
    return matrix


def squared_rows(whole: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The same in the graph, of any rows: int8 [.., n] and float32 [..] to float32 [.., n]."""
    root = tf.cast(whole, tf.float32)
    return root * tf.abs(root) * scale[..., tf.newaxis]


def read_floats(columns: Any, name: str) -> npt.NDArray[Any]:
    """A column of a loaded SavedModel's shelf as it was before it was rounded, if it was.

    Args:
        columns: a loaded `models.columns.Columns`.
        name: of the column.
    """
    values: npt.NDArray[Any] = getattr(columns, name).numpy()
    scale = getattr(columns, scale_of(name), None)
    return values if scale is None else squared(values, scale.numpy())


def scale_of(name: str) -> str:
    """The column beside a rounded one."""
    return f"{name}_scale"
