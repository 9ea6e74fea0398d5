"""What items inherit, in the graph: places of anchors, and scores handed to the items."""

from __future__ import annotations

import tensorflow as tf

from models.columns import Columns, take
from models.companding import scale_of, squared_rows
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

    def speaks(self, rows: tf.Tensor) -> tf.Tensor:
        """Which items say something of whom has them: an anchor, or like one; int [..] to bool."""
        lists = take(self.source, tf.maximum(rows, 0))
        return (rows != PAD) & tf.reduce_any(take(self.anchor_weight, lists) > 0, axis=-1)

    def scores(self, anchor: tf.Tensor, user: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors for U users, by the anchors that they bought.

        Args:
            anchor: int32 [N], places among the anchors.
            user: int [N], who bought them, rising.
            users: U, int [].

        Returns:
            float32 [U, A].
        """
        if hasattr(self, scale_of("anchor_teacher")):
            # Either way no more numbers are held than the matrix has.
            teacher, place = tf.cond(
                tf.size(anchor) < self.anchor_count(),
                lambda: (self.floats("anchor_teacher", anchor), tf.range(tf.size(anchor))),
                lambda: (self.floats("anchor_teacher"), anchor),
            )
        else:
            teacher, place = self.floats("anchor_teacher"), anchor
        return tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=teacher, indices=place, segment_ids=user, num_segments=users
        )

    def scores_by(self, likened: tf.Tensor) -> tf.Tensor:
        """The same by how much of each anchor users bought: float32 [U, A] to float32 [U, A]."""
        return tf.matmul(likened, self.floats("anchor_teacher"))

    def scores_of(self, anchor: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """What each anchor in a history adds to the scores of items: float32 [B, A].

        Args:
            anchor: int32 [B, K], that items inherit from, in any order and also repeated.
            weight: float32 [B, K].
        """
        # Single numbers of many rows take longer than all of them in one product.
        item = tf.broadcast_to(tf.range(tf.shape(anchor)[0])[:, tf.newaxis], tf.shape(anchor))
        every = tf.scatter_nd(
            tf.stack([item, anchor], axis=-1), weight, [tf.shape(anchor)[0], self.anchor_count()]
        )

        def of_all() -> tf.Tensor:
            return tf.matmul(self.floats("anchor_teacher"), every, transpose_b=True)

        scale = getattr(self, scale_of("anchor_teacher"), None)
        if scale is None:
            return tf.transpose(of_all())

        def of_columns() -> tf.Tensor:
            columns = tf.gather(self.anchor_teacher.read_value(), anchor, axis=1)
            columns = squared_rows(columns, scale.read_value()[:, tf.newaxis])
            return tf.einsum("abk,bk->ab", columns, weight)

        # Either way no more numbers are held than the matrix has.
        return tf.transpose(tf.cond(tf.size(anchor) < self.anchor_count(), of_columns, of_all))

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
        # Rows of users are gathered: single numbers take several times as long.
        by_anchor = tf.transpose(scores)
        # The first lists are the anchors' own, whose scores are known.
        index = tf.cast(self.anchor_index[self.anchor_count() :], tf.int32)
        weight = tf.cast(self.anchor_weight[self.anchor_count() :], tf.float32)
        lent = tf.reduce_sum(tf.gather(by_anchor, index) * weight[:, :, tf.newaxis], axis=1)
        lists = tf.concat([by_anchor, lent], axis=0)
        return tf.transpose(tf.gather(lists, self.source.read_value()))

    def lent_at(self, scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The same at rows int [B, N] of each user: float32 [B, N]."""
        index, weight = self.lists(rows)
        # From one long row: a gather by batches takes several times as long.
        begin = tf.range(tf.shape(scores)[0]) * tf.shape(scores)[1]
        lent = tf.gather(tf.reshape(scores, [-1]), index + begin[:, tf.newaxis, tf.newaxis])
        return tf.reduce_sum(lent * weight, axis=2)
