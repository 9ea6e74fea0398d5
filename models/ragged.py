"""What goes from ragged rows to their values and back, where TensorFlow's own is slow.

Its sum over ragged rows, `value_rowids` and `tf.repeat` go by a table as wide as the longest row,
and a segment sum needs the number of the row beside each value. Its `merge_dims` takes fifty ops.
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

_BLOCK: Final = 64


def joined(lists: tf.RaggedTensor) -> tf.RaggedTensor:
    """The values of each row's rows, one after the other: [B, (M), (N)] to [B, (N)]."""
    inner = lists.values
    return tf.RaggedTensor.from_row_splits(
        inner.values, tf.gather(inner.row_splits, lists.row_splits), validate=False
    )


def spread(numbers: tf.Tensor, lists: tf.RaggedTensor) -> tf.Tensor:
    """The number of each value's row: float32 [R], of rows [R, (N)], to float32 [N].

    Summed up of what changes from row to row, at the place where the row begins.
    """
    changes = numbers - tf.pad(numbers[:-1], [[1, 0]])
    # One place more, where empty rows at the end begin.
    size = tf.reshape(lists.row_splits[-1] + 1, [1])
    return tf.cumsum(tf.scatter_nd(lists.row_splits[:-1, tf.newaxis], changes, size))[:-1]


def row_sums(lists: tf.RaggedTensor) -> tf.Tensor:
    """Of each row of float32 [R, (N)] the sum: float32 [R].

    What all values up to a row's end come to, less what those up to its begin do. That is counted
    in whole blocks and a part of one more, and in float64, or large rows would take the digits of
    small ones.
    """
    size = tf.size(lists.values)
    blocks = tf.reshape(tf.pad(lists.values, [[0, _BLOCK - size % _BLOCK]]), [-1, _BLOCK])
    blocks = tf.cast(blocks, tf.float64)
    whole = tf.cumsum(tf.reduce_sum(blocks, axis=1), exclusive=True)
    block, place = lists.row_splits // _BLOCK, lists.row_splits % _BLOCK
    within = tf.range(_BLOCK, dtype=place.dtype) < place[:, tf.newaxis]
    part = tf.where(within, tf.gather(blocks, block), 0.0)
    until = tf.gather(whole, block) + tf.reduce_sum(part, axis=1)
    return tf.cast(until[1:] - until[:-1], tf.float32)
