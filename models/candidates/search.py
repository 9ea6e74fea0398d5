"""Looks a user's candidates up in the index: the best blocks, and the best of their postings."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.columns import Columns, take
from models.exploration.exploration import OUT
from models.interactions import PAD

# A list of more places is searched for exactly.
LONGEST: Final = 1024
# A list of up to so many looks at as many places of the index as usual; a longer one at as many
# more as it is longer.
_USUAL: Final = 128
# Postings that promise most, whose items get a full score, for each place of a list.
_BEST: Final = 8
# Items of the catalogue that stand for the others where the allowed ones are counted.
_COUNTED: Final = 4096


class CandidateSearch(Columns):
    """The columns of a `CandidateIndex`, and how they are searched."""

    def is_built(self) -> tf.Tensor:
        """Whether there is an index: bool []."""
        return tf.size(self.row.read_value()) > 0

    def scan(self, allowed: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        """How many places to look at so that as many allowed ones are among them as usual.

        Args:
            allowed: bool [I].
            k: int32 [], places of the list.

        Returns:
            int32 [], of all places at most.
        """
        items = tf.size(allowed)
        counted = tf.cast(allowed[:: tf.maximum(items // _COUNTED, 1)], tf.float32)
        places = tf.cast(tf.size(self.row.read_value()), tf.float32)
        scanned = tf.minimum(self._usual(k) / (tf.reduce_mean(counted) + 1e-9), places)
        return tf.cast(scanned, tf.int32)

    def rows_of(
        self, scores: tf.Tensor, allowed: tf.Tensor, scanned: tf.Tensor, k: tf.Tensor
    ) -> tf.Tensor:
        """Rows of the postings that promise a user most, all different, in no order: int32 [N].

        Args:
            scores: float32 [A], of the anchors.
            allowed: bool [I].
            scanned: int32 [], how many places to look at, as of `scan`.
            k: int32 [], places of the list.
        """
        blocks = self._blocks(scores, scanned)
        shared = tf.gather(scores, take(self.shared, blocks))[:, tf.newaxis]
        others = tf.gather(scores, take(self.other, blocks)) * take(self.weight, blocks)
        # Of the heads alone; the full score is left to those that do best by it.
        lent = shared * take(self.own, blocks) + tf.reduce_sum(others, axis=1)
        promised = tf.reshape(lent, [-1])
        rows = tf.reshape(take(self.row, blocks), [-1])
        # Where nearly all items are allowed, the others are struck from what is found.
        places = tf.size(self.row.read_value())
        promised = tf.cond(
            (tf.cast(scanned, tf.float32) <= self._usual(k)) & (scanned < places),
            lambda: promised,
            lambda: tf.where(tf.gather(allowed, tf.maximum(rows, 0)), promised, OUT),
        )
        best = tf.minimum(_BEST * as_usual(k), tf.size(rows))
        best = tf.math.top_k(promised, best, sorted=False)
        found = tf.gather(rows, best.indices)
        return tf.unique(tf.boolean_mask(found, found != PAD)).y

    def _usual(self, k: tf.Tensor) -> tf.Tensor:
        """Places that a list of k looks at where all items are allowed: float32 []."""
        return tf.cast(self.scanned[0], tf.float32) * tf.cast(as_usual(k), tf.float32) / _USUAL

    def _blocks(self, scores: tf.Tensor, scanned: tf.Tensor) -> tf.Tensor:
        """The blocks whose first postings owe most to the anchor that a block shares, in order."""
        bound = tf.gather(scores, self.shared.read_value()) * self.most.read_value()
        blocks = scanned // tf.shape(self.row.read_value())[1] + 1
        return tf.math.top_k(bound, tf.minimum(blocks, tf.size(bound))).indices


def as_usual(k: tf.Tensor) -> tf.Tensor:
    """For how many places a list of k is searched, int32 []: a shorter one as a usual one."""
    return tf.maximum(k, _USUAL)
