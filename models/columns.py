"""Columns of data as variables that may grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.companding import rooted, scale_of, squared_rows

WIDENS: Final = "widens"
ROUNDS: Final = "rounds"


def take(column: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Some rows of a column: int [..] to [.., ...].

    To gather from the variable itself would make each dense read of it a copy
    (`EnsureSparseVariableAccess` in TensorFlow's resource_variable_ops).
    """
    return tf.gather(column.read_value(), rows)


def by_rows(column: tf.Variable, offset: tf.Variable) -> tf.RaggedTensor:
    """A column of N values as R rows: [R, (N)], of which `tf.gather` takes some.

    Args:
        column: [N].
        offset: int64 [R + 1], where each row begins.
    """
    return tf.RaggedTensor.from_row_splits(column.read_value(), offset.read_value(), validate=False)


class Columns(tf.Module):
    """The arrays of a dataclass as variables of an unknown number of rows, of the same names.

    Where the field's metadata has `WIDENS`, the rows may become longer or shorter too. Where it has
    `ROUNDS`, the matrix is kept in 8 bits in a small model, and read by `floats` only.
    """

    def __init__(self, data: Any, *, small: bool = False) -> None:
        """Take the arrays in; fields that are no arrays are left to the subclass."""
        super().__init__(name=type(data).__name__)
        self._small = small
        for name, value, shape in _stored(data, small=small):
            setattr(self, name, tf.Variable(value, trainable=False, name=name, shape=shape))

    def fill(self, data: Any) -> None:
        """Put other arrays of the same type in the place of those that were taken in.

        Raises:
            ValueError: one of them has another dtype, or other widths.
        """
        for name, value, _ in _stored(data, small=self._small):
            getattr(self, name).assign(value)

    def floats(self, name: str, rows: tf.Tensor | None = None) -> tf.Tensor:
        """A matrix that may be kept in 8 bits: float32 [N, M], or [.., M] at rows int [..]."""

        def read(column: tf.Variable) -> tf.Tensor:
            return column.read_value() if rows is None else take(column, rows)

        scale = getattr(self, scale_of(name), None)
        values = read(getattr(self, name))
        return values if scale is None else squared_rows(values, read(scale))


def _stored(data: Any, *, small: bool) -> Iterator[tuple[str, npt.NDArray[Any], list[int | None]]]:
    """Of each column its name, its values, and the shape that it may take."""
    for column in fields(data):
        value = getattr(data, column.name)
        if not isinstance(value, np.ndarray):
            continue
        if small and ROUNDS in column.metadata:
            value, scale = rooted(value)
            yield scale_of(column.name), scale, [None]
        shape = [None] * value.ndim if WIDENS in column.metadata else [None, *value.shape[1:]]
        yield column.name, value, shape
