"""Where the true item of each user stands: what Evaluator's ranking metrics are made of."""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from models.exploration.exploration import OUT
from models.export.groups import in_groups
from models.export.lists import first_listed, without
from models.export.query import Query
from models.export.scoring import Scorer
from models.interactions import PAD
from models.shelf.shelf import Shelf

_ROWS: Final = tf.TensorSpec([None, None], tf.int32)
_RANK: Final = tf.TensorSpec([None], tf.float32)


class Ranked(NamedTuple):
    """Where one item stands for each of B users, and what else would have been listed.

    Attributes:
        rank: float32 [B], among all candidates, 1 being best.
        cold_rank: float32 [B], among those that training never saw.
        listed: int32 [B, `PLACES`], rows of the best candidates, PAD at the end.
        cold_listed: int32 [B, `PLACES`], of the best that training never saw.
        candidates: float32 [B], how many there are.
        cold_candidates: float32 [B], how many of them training never saw.
    """

    rank: tf.Tensor
    cold_rank: tf.Tensor
    listed: tf.Tensor
    cold_listed: tf.Tensor
    candidates: tf.Tensor
    cold_candidates: tf.Tensor


class Judge(tf.Module):
    """Ranks one item for each user among all that it competed with."""

    def __init__(self, *, shelf: Shelf, scorer: Scorer) -> None:
        """Judge by the scores of what the train split alone tells."""
        super().__init__(name="judge")
        self._shelf = shelf
        self._scorer = scorer

    def __call__(self, query: Query, items: tf.Tensor, span: tf.Tensor) -> Ranked:
        """Where one item for each user stands, among all items and among the cold ones.

        Candidates are those that were there in the user's span: int64 [B], 0 for all.
        Ties rank behind, so that a collapsed model is not mistaken for a perfect one; an item
        that is not on the shelf (PAD) ranks last.
        """
        ranked: Ranked = in_groups(
            lambda asked: self._ranked(*asked),
            (query, items, span),
            self._scorer.at_once(),
            Ranked(_RANK, _RANK, _ROWS, _ROWS, _RANK, _RANK),
        )
        return ranked

    def _ranked(self, users: Query, items: tf.Tensor, span: tf.Tensor) -> Ranked:
        shelf, span = self._shelf, tf.cast(span, tf.int32)[:, tf.newaxis]
        there = (shelf.span.read_value() <= span) | (span == 0)
        allowed = there & ~shelf.is_new.read_value()
        candidates = without(tf.where(allowed, self._scorer.logits(users), OUT), users.excluded)
        known = items != PAD
        own = tf.gather(candidates, tf.maximum(items, 0), batch_dims=1)
        own = tf.where(known, own, OUT)[:, tf.newaxis]
        # The item itself counts once, also where it is not cold or not known.
        itself = tf.one_hot(items, tf.shape(candidates)[1])
        ahead = tf.cast(candidates >= own, tf.float32) * (1.0 - itself)
        is_cold = shelf.is_cold.read_value()
        cold = tf.cast(is_cold, tf.float32)
        there = tf.cast(allowed, tf.float32)
        return Ranked(
            rank=tf.reduce_sum(ahead, axis=1) + 1.0,
            cold_rank=tf.linalg.matvec(ahead, cold) + 1.0,
            listed=first_listed(candidates),
            cold_listed=first_listed(tf.where(is_cold, candidates, OUT)),
            candidates=tf.reduce_sum(there, axis=1),
            cold_candidates=tf.linalg.matvec(there, cold),
        )


def drawn_like(items: tf.Tensor, number: tf.Tensor, shelf: Shelf) -> tf.Tensor:
    """An item in the place of each one: among those that training saw, or among those held out.

    Of one kind, or it would be the kind that tells them apart.

    Args:
        items: rows int64 [B], PAD for none.
        number: int64 [B], any; decides which item is drawn.
        shelf: with the items.

    Returns:
        Rows int64 [B].
    """
    is_cold = shelf.is_cold.read_value()
    seen = tf.where(~is_cold)[:, 0]
    cold = tf.where(is_cold & ~shelf.is_new.read_value())[:, 0]
    both = tf.concat([seen, cold], axis=0)
    among_cold = tf.gather(is_cold, tf.maximum(items, 0))
    first = tf.where(among_cold, tf.size(seen, tf.int64), 0)
    count = tf.where(among_cold, tf.size(cold, tf.int64), tf.size(seen, tf.int64))
    place = first + tf.math.floormod(number, tf.maximum(count, 1))
    return tf.gather(both, tf.minimum(place, tf.size(both, tf.int64) - 1))
