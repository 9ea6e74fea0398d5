"""What items inherit, in the graph: places of anchors, and scores handed to the items."""

from __future__ import annotations

import tensorflow as tf

from models.columns import Columns, take
from models.interactions import PAD


class Inherited(Columns):
    """The columns of an `Inheritance` and how they are read; A anchors, K anchors an item."""

    def anchor_count(self) -> tf.Tensor:
        """A, int32 []."""
        return tf.size(self.reference_weight.read_value())

    def anchors(self, rows: tf.Tensor) -> tf.Tensor:
        """Places among the anchors: item rows int [..] to int32 [..], PAD for any other."""
        source = take(self.source, tf.maximum(rows, 0))
        return tf.where((rows != PAD) & (source < self.anchor_count()), source, PAD)

    def lists(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What items inherit from; an anchor from itself.

        Args:
            rows: int [..], no PAD among them.

        Returns:
            anchors int32 [.., K] and their weights float32 [.., K].
        """
        lists = take(self.source, rows)
        return (
            tf.cast(take(self.anchor_index, lists), tf.int32),
            tf.cast(take(self.anchor_weight, lists), tf.float32),
        )

    def lent_to_all(self, scores: tf.Tensor) -> tf.Tensor:
        """Scores of the anchors, handed to all items: float32 [B, A] to float32 [B, I]."""
        # The first lists are the anchors' own, whose scores are known.
        index = tf.cast(self.anchor_index[self.anchor_count() :], tf.int32)
        weight = tf.cast(self.anchor_weight[self.anchor_count() :], tf.float32)
        lent = tf.reduce_sum(tf.gather(scores, index, axis=1) * weight, axis=2)
        return tf.gather(tf.concat([scores, lent], axis=1), self.source.read_value(), axis=1)

    def lent_at(self, scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The same at rows int [B, N] of each user: float32 [B, N]."""
        index, weight = self.lists(rows)
        # From one long row: a gather by batches takes several times as long.
        begin = tf.range(tf.shape(scores)[0]) * tf.shape(scores)[1]
        lent = tf.gather(tf.reshape(scores, [-1]), index + begin[:, tf.newaxis, tf.newaxis])
        return tf.reduce_sum(lent * weight, axis=2)
