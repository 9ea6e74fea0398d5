"""Scores of queries over the shelf: the retrieval logit of every item, and the rating of one."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.interactions import PAD
from models.query import Query
from models.rating import mean_interest
from models.shelf import Shelf
from models.two_tower import TwoTower

# Stands for "no candidate": lower than any logit, yet finite.
OUT: Final = tf.float32.min
# Items whose full score is computed in a larger catalogue.
SHORTLIST: Final = 4096


class Scorer(tf.Module):
    """The trained heads over the shelf's columns."""

    def __init__(self, *, shelf: Shelf, model: TwoTower) -> None:
        super().__init__(name="scorer")
        self._shelf = shelf
        self._model = model

    def best(self, query: Query, allowed: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best items of each user, without what is excluded or was bought.

        In a large catalogue the full score is only computed for a shortlist; see `_estimates`.

        Args:
            query: B users.
            allowed: bool [I].
            k: int32 [].

        Returns:
            logits float32 [B, min(k, I)], `OUT` where there is no candidate left, and rows int32.
        """

        def candidates(user: Query, scores: tf.Tensor) -> tf.Tensor:
            scores = tf.where(allowed, scores, OUT)
            return _without(_without(scores, self._purchases(user.user)), user.excluded)

        def among_all(user: Query) -> tuple[tf.Tensor, tf.Tensor]:
            return top(candidates(user, self._logits(user)), k)

        def among_shortlist(user: Query, estimates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            estimates, rows = top(candidates(user, estimates), tf.constant(SHORTLIST))
            logits = tf.where(estimates > OUT, self._logits(user, tf.cast(rows, tf.int64)), OUT)
            best, places = top(logits, k)
            return best, tf.gather(rows, places)

        ranked = (tf.float32, tf.int32)
        best, rows = tf.cond(
            (tf.size(allowed) > SHORTLIST) & (k <= SHORTLIST),
            lambda: tf.map_fn(
                lambda row: among_shortlist(*row), (query, self._estimates(query)),
                fn_output_signature=ranked,
            ),
            lambda: tf.map_fn(among_all, query, fn_output_signature=ranked),
        )  # fmt: skip
        return best, rows

    def scores(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The logit of one item for each user: rows int64 [B] to float32 [B]."""
        return tf.map_fn(
            lambda row: self._logits(row[0], row[1][tf.newaxis])[0], (query, items),
            fn_output_signature=tf.float32,
        )  # fmt: skip

    def ranks(self, query: Query, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rank of one item for each user, among all and among the cold ones: twice float32 [B].

        Ties rank behind, so that a collapsed model is not mistaken for a perfect one; an item
        that is not on the shelf (PAD) ranks last.
        """
        ranks, cold_ranks = tf.map_fn(
            lambda row: self._ranks(*row), (query, items),
            fn_output_signature=(tf.float32, tf.float32),
        )  # fmt: skip
        return ranks, cold_ranks

    def rating(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The rating of one item for each user: rows int64 [B] to float32 [B] in [0, 1]."""
        present = tf.cast(query.history != PAD, tf.float32)
        known = tf.cast(items != PAD, tf.float32)[:, tf.newaxis]
        rating = self._model.rating(
            ratings=query.rating,
            rated=query.rated,
            history=mean_interest(self.interests(query.history), present),
            profile=query.profile,
            item=tf.gather(self._shelf.embeddings(), tf.maximum(items, 0)) * known,
        )
        return tf.clip_by_value(rating, 0.0, 1.0)

    def interests(self, history: tf.Tensor) -> tf.Tensor:
        """One interest per item of the history: int64 [B, H] to float32 [B, H, D], zeros pad."""
        present = tf.cast(history != PAD, tf.float32)[:, :, tf.newaxis]
        return tf.gather(self._shelf.embeddings(), tf.maximum(history, 0)) * present

    def _logits(self, user: Query, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Logits of one user: float32 [I], or [N] where rows int64 [N] are given."""
        shelf, retrieval = self._shelf, self._model.retrieval
        history = tf.boolean_mask(user.history, user.history != PAD)

        def pick(column: tf.Tensor) -> tf.Tensor:
            return column if rows is None else tf.gather(column, rows)

        items = pick(shelf.embeddings())
        affinity = tf.cond(
            tf.reduce_any(user.profile != 0.0),
            lambda: tf.linalg.matvec(items, user.profile),
            lambda: tf.zeros([tf.shape(items)[0]]),
        )

        def from_history() -> tf.Tensor:
            interests = tf.gather(shelf.embeddings(), history)
            scores = self._anchor_scores(history)
            return retrieval.combine(
                near=tf.reduce_sum(retrieval.nearness(items, interests), axis=1),
                inherited=self._inherited(scores) if rows is None else self._lent(scores, rows),
                reference=tf.tensordot(shelf.cold_attention.read_value(), scores, axes=1),
                length=tf.cast(tf.size(history), tf.float32),
                demand=pick(shelf.demand.read_value()),
            )

        from_nothing = pick(shelf.fallback.read_value())
        return affinity + tf.cond(tf.size(history) > 0, from_history, lambda: from_nothing)

    def _estimates(self, query: Query) -> tf.Tensor:
        """What the embeddings alone tell of the logits, up to a constant a user: [B, I].

        One scan over the embeddings for all users, along the directions that best tell the
        anchors' full scores. Whoever has no history is not estimated: the fallback is cheap.
        """
        shelf = self._shelf
        anchors = tf.cast(shelf.anchor_row.read_value(), tf.int64)

        def direction(user: Query) -> tf.Tensor:
            known = self._logits(user, anchors)
            return tf.linalg.matvec(shelf.anchor_probe, known - tf.reduce_mean(known))

        directions = tf.map_fn(direction, query, fn_output_signature=tf.float32)
        estimates = tf.matmul(directions, shelf.embeddings(), transpose_b=True)
        return tf.map_fn(
            lambda row: tf.cond(
                tf.reduce_any(row[0].history != PAD),
                lambda: row[1],
                lambda: self._logits(row[0]),
            ),
            (query, estimates),
            fn_output_signature=tf.float32,
        )

    def _anchor_scores(self, history: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors: int64 [H] to float32 [A]."""
        shelf = self._shelf
        anchors = tf.gather(shelf.anchor_of.read_value(), history)
        anchors = tf.boolean_mask(anchors, anchors != PAD)
        count = shelf.anchor_teacher.shape[1]
        bought = tf.math.unsorted_segment_max(tf.ones_like(anchors, tf.float32), anchors, count)
        return self._model.retrieval.anchor_scores(
            tf.reduce_sum(tf.gather(shelf.anchor_teacher, anchors), axis=0), tf.nn.relu(bought)
        )

    def _inherited(self, scores: tf.Tensor) -> tf.Tensor:
        """Anchor scores float32 [A] handed to every item: float32 [I]."""
        # An anchor stands for itself; only the others have several to be summed over.
        anchor_of = self._shelf.anchor_of.read_value()
        own = tf.gather(scores, tf.maximum(anchor_of, 0))
        others = tf.where(anchor_of == PAD)
        return tf.tensor_scatter_nd_update(own, others, self._lent(scores, others[:, 0]))

    def _lent(self, scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Anchor scores float32 [A] handed to items: rows int64 [N] to float32 [N]."""
        shelf = self._shelf
        lent = tf.gather(scores, tf.gather(shelf.anchor_index, rows))
        return tf.reduce_sum(lent * tf.gather(shelf.anchor_weight, rows), axis=1)

    def _purchases(self, user: tf.Tensor) -> tf.Tensor:
        """All rows a known user has bought: int64 [] to int64 [N]; none for PAD."""
        shelf = self._shelf
        place = tf.maximum(user, 0)
        start, end = shelf.user_offset[place], shelf.user_offset[place + 1]
        end = tf.where(user == PAD, start, end)
        return tf.cast(shelf.user_items[start:end], tf.int64)

    def _ranks(self, user: Query, item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidates = _without(self._logits(user), user.excluded)
        own = tf.where(item == PAD, OUT, candidates[tf.maximum(item, 0)])
        ahead = tf.cast(candidates >= own, tf.float32)
        cold = tf.cast(self._shelf.is_cold, tf.float32)
        # The item itself counts once, also where it is not cold or not known.
        itself = tf.one_hot(item, tf.size(candidates))
        rank = tf.reduce_sum(ahead * (1.0 - itself)) + 1.0
        return rank, tf.reduce_sum(ahead * cold * (1.0 - itself)) + 1.0


def _without(logits: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Strike rows int64 [E] (PAD is none) from logits float32 [I]."""
    rows = tf.boolean_mask(rows, rows != PAD)
    return tf.tensor_scatter_nd_update(logits, rows[:, tf.newaxis], tf.fill([tf.size(rows)], OUT))


def top(logits: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best along the last axis, fewer where there are fewer: values and places.

    Raises (when run):
        InvalidArgumentError: k is below 1.
    """
    with tf.control_dependencies([tf.debugging.Assert(k >= 1, ["k must be at least 1, it is", k])]):
        best = tf.math.top_k(logits, k=tf.minimum(k, tf.shape(logits)[-1]))
    return best.values, best.indices
