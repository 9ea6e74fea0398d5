"""Looks a user's candidates up in the index: the best blocks, and the best of their postings."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.columns import Columns, take
from models.exploration.exploration import OUT
from models.interactions import PAD

# Postings that promise most, whose items get a full score.
_BEST: Final = 1024
# A list of more places is searched for exactly.
LONGEST: Final = 128
# Items of the catalogue that stand for the others where the allowed ones are counted.
_COUNTED: Final = 4096
# As many places as usual are at most that part of them all; beyond twice that part one scan of all
# embeddings is no dearer.
_PART: Final = 4


class CandidateSearch(Columns):
    """The columns of a `CandidateIndex`, and how they are searched."""

    def is_built(self) -> tf.Tensor:
        """Whether there is an index: bool []."""
        return tf.size(self.row.read_value()) > 0

    def scan(self, allowed: tf.Tensor) -> tf.Tensor:
        """How many places to look at so that as many allowed ones are among them as usual.

        Args:
            allowed: bool [I].

        Returns:
            int32 [], 0 where an exact search is to be preferred.
        """
        items = tf.size(allowed)
        counted = tf.cast(allowed[:: tf.maximum(items // _COUNTED, 1)], tf.float32)
        scanned = tf.cast(self._usual(), tf.float32) / (tf.reduce_mean(counted) + 1e-9)
        most = tf.cast(2 * self._part(), tf.float32)
        return tf.cast(tf.where(scanned <= most, scanned, 0.0), tf.int32)

    def rows_of(self, scores: tf.Tensor, allowed: tf.Tensor, scanned: tf.Tensor) -> tf.Tensor:
        """Rows of the postings that promise a user most, all different, in no order: int32 [N].

        Args:
            scores: float32 [A], of the anchors.
            allowed: bool [I].
            scanned: int32 [], how many places to look at, as of `scan`.
        """
        blocks = self._blocks(scores, scanned)
        shared = tf.gather(scores, take(self.shared, blocks))[:, tf.newaxis]
        others = tf.gather(scores, take(self.other, blocks)) * take(self.weight, blocks)
        # Of the heads alone; the full score is left to those that do best by it.
        lent = shared * take(self.own, blocks) + tf.reduce_sum(others, axis=1)
        promised = tf.reshape(lent, [-1])
        rows = tf.reshape(take(self.row, blocks), [-1])
        # Where nearly all items are allowed, the others are struck from what is found.
        promised = tf.cond(
            scanned > self._usual(),
            lambda: tf.where(tf.gather(allowed, tf.maximum(rows, 0)), promised, OUT),
            lambda: promised,
        )
        best = tf.math.top_k(promised, tf.minimum(_BEST, tf.size(rows)), sorted=False)
        found = tf.gather(rows, best.indices)
        return tf.unique(tf.boolean_mask(found, found != PAD)).y

    def _usual(self) -> tf.Tensor:
        return tf.minimum(self.scanned[0], self._part())

    def _part(self) -> tf.Tensor:
        return tf.size(self.row.read_value()) // _PART

    def _blocks(self, scores: tf.Tensor, scanned: tf.Tensor) -> tf.Tensor:
        """The blocks whose first postings owe most to the anchor that a block shares, in order."""
        bound = tf.gather(scores, self.shared.read_value()) * self.most.read_value()
        blocks = scanned // tf.shape(self.row.read_value())[1] + 1
        return tf.math.top_k(bound, tf.minimum(blocks, tf.size(bound))).indices
