"""Lists of rows: the best ones, those without some, those that stand twice."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.exploration.exploration import OUT
from models.interactions import PAD
from models.ranking import PLACES

# Lists of k items for each of B users: logits float32 [B, k], best first, and rows int32 [B, k].
BestItems = tuple[tf.Tensor, tf.Tensor]


class Wanted(NamedTuple):
    """What lists are to hold.

    Attributes:
        allowed: bool [I].
        k: int32 [], places of a list.
        boost: float32 [I], added to the logits; None for nothing.
    """

    allowed: tf.Tensor
    k: tf.Tensor
    boost: tf.Tensor | None = None

    def tensors(self) -> list[tf.Tensor]:
        """What there is of it, as a function that is traced once takes it."""
        return [part for part in self if part is not None]


def wanted_spec(has_boost: bool) -> list[tf.TensorSpec]:
    """Of `Wanted.tensors`."""
    boost = [tf.TensorSpec([None], tf.float32)] * has_boost
    return [tf.TensorSpec([None], tf.bool), tf.TensorSpec([], tf.int32), *boost]


def top(logits: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best along the last axis, fewer where there are fewer: values and places.

    Raises (when run):
        InvalidArgumentError: k is below 1.
    """
    with tf.control_dependencies([tf.debugging.Assert(k >= 1, ["k must be at least 1, it is", k])]):
        best = tf.math.top_k(logits, k=tf.minimum(k, tf.shape(logits)[-1]))
    return best.values, best.indices


def first_listed(scores: tf.Tensor) -> tf.Tensor:
    """The best rows of scores float32 [B, I]: int32 [B, `PLACES`], PAD at the end."""
    best, rows = top(scores, tf.constant(PLACES))
    missing = PLACES - tf.shape(rows)[1]
    return tf.pad(tf.where(best > OUT, rows, PAD), [[0, 0], [0, missing]], constant_values=PAD)


def without(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Strike rows int64 [B, E] (PAD is none) from scores float32 [B, I]."""
    listed = tf.where(rows != PAD)
    places = tf.stack([listed[:, 0], tf.gather_nd(rows, listed)], axis=1)
    return tf.tensor_scatter_nd_update(scores, places, tf.fill([tf.shape(places)[0]], OUT))


def is_listed(rows: tf.Tensor, listed: tf.Tensor) -> tf.Tensor:
    """Which rows int32 [B, N] are among those listed, int64 [B, E] with PAD for none."""
    ordered = tf.pad(
        tf.sort(tf.cast(listed, tf.int32), axis=1), [[0, 0], [1, 0]], constant_values=PAD
    )
    last = tf.searchsorted(ordered, rows, side="right") - 1
    return tf.gather(ordered, last, batch_dims=1) == rows


def repeated(rows: tf.Tensor) -> tf.Tensor:
    """Whether a value stands further left in its row too: int [B, H] to bool [B, H]."""
    # Equal values come to stand side by side, the leftmost first.
    order = tf.argsort(rows, axis=1, stable=True)
    ordered = tf.gather(rows, order, batch_dims=1)
    again = tf.pad(ordered[:, 1:] == ordered[:, :-1], [[0, 0], [1, 0]])[:, : tf.shape(rows)[1]]
    return tf.gather(again, tf.argsort(order, axis=1), batch_dims=1)
