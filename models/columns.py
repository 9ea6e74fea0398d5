"""Columns of data as variables that may grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

WIDENS: Final = "widens"


def take(column: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Some rows of a column: int [..] to [.., ...].

    To gather from the variable itself would make each dense read of it a copy
    (`EnsureSparseVariableAccess` in TensorFlow's resource_variable_ops).
    """
    return tf.gather(column.read_value(), rows)


class Columns(tf.Module):
    """The arrays of a dataclass as variables of an unknown number of rows, of the same names.

    Where the field's metadata has `WIDENS`, the rows may become longer or shorter too.
    """

    def __init__(self, data: Any) -> None:
        """Take the arrays in; fields that are no arrays are left to the subclass."""
        super().__init__(name=type(data).__name__)
        for column, value in _arrays(data):
            shape = [None] * value.ndim if WIDENS in column.metadata else [None, *value.shape[1:]]
            variable = tf.Variable(value, trainable=False, name=column.name, shape=shape)
            setattr(self, column.name, variable)

    def fill(self, data: Any) -> None:
        """Put other arrays of the same type in the place of those that were taken in.

        Raises:
            ValueError: one of them has another dtype, or other widths.
        """
        for column, value in _arrays(data):
            getattr(self, column.name).assign(value)


def _arrays(data: Any) -> Iterator[tuple[Field[Any], npt.NDArray[Any]]]:
    for column in fields(data):
        value = getattr(data, column.name)
        if isinstance(value, np.ndarray):
            yield column, value
