"""Looks a user's candidates up in the index: centres, a few lists, the best of their codes."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.columns import Columns, take
from models.exploration import OUT

# Lists that are put in order for a user; as many as make up `scanned` are looked at.
_LISTS: Final = 1024
# Codes with the best products, whose items get a full score.
_BEST: Final = 2048
# A list of more places is searched for exactly.
LONGEST: Final = 128
# Items of the catalogue that stand for the others where the allowed ones are counted.
_COUNTED: Final = 4096
# Where lists would be looked at beyond that part of the catalogue, one scan of it is no dearer.
_PART: Final = 4


class CandidateSearch(Columns):
    """The columns of a `CandidateIndex`, and how they are searched."""

    def is_built(self) -> tf.Tensor:
        """Whether there is an index: bool []."""
        return tf.size(self.row.read_value()) > 0

    def scan(self, allowed: tf.Tensor) -> tf.Tensor:
        """How many codes to look at so that as many allowed ones are among them as usual.

        Args:
            allowed: bool [I].

        Returns:
            int32 [], 0 where an exact search is to be preferred.
        """
        items = tf.size(allowed)
        counted = tf.cast(allowed[:: tf.maximum(items // _COUNTED, 1)], tf.float32)
        scanned = tf.cast(self.scanned[0], tf.float32) / (tf.reduce_mean(counted) + 1e-9)
        most = tf.cast(items // _PART, tf.float32)
        return tf.cast(tf.where(scanned <= most, scanned, 0.0), tf.int32)

    def rows_of(self, scores: tf.Tensor, allowed: tf.Tensor, scanned: tf.Tensor) -> tf.Tensor:
        """Rows of the best allowed codes for a user: int32 [N].

        Args:
            scores: float32 [A], of the anchors.
            allowed: bool [I].
            scanned: int32 [], how many codes to look at.
        """
        coordinates = tf.linalg.matvec(self.user_factor.read_value(), scores, transpose_a=True)
        places = self._places(coordinates, scanned)
        rows = take(self.row, places)
        codes = tf.cast(take(self.code, places), tf.float32)
        products = tf.linalg.matvec(codes, coordinates * self.step.read_value())
        products = tf.where(tf.gather(allowed, rows), products, OUT)
        best = tf.math.top_k(products, tf.minimum(_BEST, tf.size(products)), sorted=False)
        return tf.gather(rows, best.indices)

    def _places(self, coordinates: tf.Tensor, scanned: tf.Tensor) -> tf.Tensor:
        """Places of the codes in the lists with the best centres: int32 [N]."""
        centre, offset = self.centre.read_value(), self.offset.read_value()
        order = tf.math.top_k(
            tf.linalg.matvec(centre, coordinates), tf.minimum(_LISTS, tf.shape(centre)[0])
        ).indices
        begin, end = tf.gather(offset, order), tf.gather(offset, order + 1)
        before = tf.cumsum(end - begin, exclusive=True)
        taken = tf.reduce_sum(tf.cast(before < scanned, tf.int32))
        return tf.ragged.range(begin[:taken], end[:taken]).values
