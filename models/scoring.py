"""Scores of queries over the shelf: the retrieval logit of every item, and the rating of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from models.adapter import evidence_logits
from models.interactions import PAD
from models.query import Query
from models.shelf import Columns, Shelf
from models.towers import retrieval_logits
from models.two_tower import TwoTower

# Stands for "no candidate": lower than any logit, yet finite.
OUT: Final = tf.float32.min
# Items whose full score is computed in a larger catalogue.
SHORTLIST: Final = 1024
# A catalogue of up to so many items is scored in full.
SMALL: Final = 16384
# Scores that are held at a time: users that are scored together times items.
_SCORES: Final = 1 << 24
# Items of which only the best one is looked at, where the best of very many are sought.
_BLOCK: Final = 64


class Scorer(tf.Module):
    """The trained heads over the shelf's columns."""

    def __init__(
        self, *, shelf: Shelf, inheritance: Columns, model: TwoTower,
        evidence: Columns | None = None,
    ) -> None:  # fmt: skip
        """Score by the shelf and one of its two inheritances, with or without the evidence."""
        super().__init__(name="scorer")
        self._shelf = shelf
        self._inherited = inheritance
        self._model = model
        self._evidence = evidence

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

        def among_all(users: Query) -> tuple[tf.Tensor, tf.Tensor]:
            return top(self._candidates(users, self._logits(users), allowed), k)

        def among_shortlist(users: Query) -> tuple[tf.Tensor, tf.Tensor]:
            estimates, rows = top_blockwise(
                self._candidates(users, self._estimates(users), allowed), SHORTLIST
            )
            logits = tf.where(estimates > OUT, self._logits_at(users, rows), OUT)
            best, places = top(logits, k)
            return best, tf.gather(rows, places, batch_dims=1)

        ranked = (tf.float32, tf.int32)
        best, rows = tf.cond(
            (tf.size(allowed) > SMALL) & (k <= SHORTLIST),
            lambda: self._in_groups(among_shortlist, query, ranked),
            lambda: self._in_groups(among_all, query, ranked),
        )
        return best, rows

    def scores(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The logit of one item for each user: rows int64 [B] to float32 [B]."""
        return self._logits_at(query, items[:, tf.newaxis])[:, 0]

    def ranks(self, query: Query, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rank of one item for each user, among all and among the cold ones: twice float32 [B].

        Ties rank behind, so that a collapsed model is not mistaken for a perfect one; an item
        that is not on the shelf (PAD) ranks last.
        """
        ranks, cold_ranks = self._in_groups(
            lambda asked: self._ranks(*asked), (query, items), (tf.float32, tf.float32)
        )
        return ranks, cold_ranks

    def rating(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The rating of one item for each user: rows int64 [B] to float32 [B] in [0, 1]."""
        known = tf.cast(items != PAD, tf.float32)[:, tf.newaxis]
        rating = self._model.rating(
            ratings=query.rating,
            expected=tf.gather(self._inherited.quality, tf.maximum(query.history, 0)),
            rated=query.rated,
            history=self._mean_interest(query.history),
            profile=query.profile,
            quality=tf.gather(self._inherited.quality, tf.maximum(items, 0)) * known[:, 0],
            item=tf.gather(self._shelf.embeddings(), tf.maximum(items, 0)) * known,
        )
        return tf.clip_by_value(rating, 0.0, 1.0)

    def interests(self, history: tf.Tensor) -> tf.Tensor:
        """One interest per item of the history: int64 [B, H] to float32 [B, H, D], zeros pad."""
        present = tf.cast(history != PAD, tf.float32)[:, :, tf.newaxis]
        return tf.gather(self._shelf.embeddings(), tf.maximum(history, 0)) * present

    def _mean_interest(self, history: tf.Tensor) -> tf.Tensor:
        """Mean of `interests` without the padding, which a long history is full of: [B, D]."""
        present = history != PAD
        rows = tf.boolean_mask(history, present)
        member = tf.one_hot(tf.where(present)[:, 0], tf.shape(history)[0], axis=0)
        total = tf.matmul(member, tf.gather(self._shelf.embeddings(), rows))
        return total / tf.maximum(tf.reduce_sum(member, axis=1, keepdims=True), 1.0)

    def _in_groups(self, function: Callable[[Any], Any], asked: Any, answered: Any) -> Any:
        """Apply a function to a few users at a time, so that large batches fit into memory.

        Args:
            function: of the structure `asked`, with fewer rows, to a structure of rows.
            asked: tensors [B, ...].
            answered: dtypes of the answer.
        """
        rows = tf.shape(tf.nest.flatten(asked)[0])[0]
        size = tf.clip_by_value(_SCORES // tf.size(self._shelf.is_new), 1, 64)

        def in_turn() -> Any:
            groups = (rows + size - 1) // size
            grouped = tf.nest.map_structure(lambda x: _grouped(x, groups, size), asked)
            answers = tf.map_fn(function, grouped, fn_output_signature=answered)
            return tf.nest.map_structure(
                lambda x: tf.reshape(x, tf.concat([[groups * size], tf.shape(x)[2:]], 0))[:rows],
                answers,
            )

        return tf.cond(rows <= size, lambda: function(asked), in_turn)

    def _logits(self, users: Query) -> tf.Tensor:
        """Logits of B users over all items: float32 [B, I]."""
        inherited = self._inherited
        scores = self._anchor_scores(users.history)
        # An anchor stands for itself; only the others have several to be summed over.
        anchor_of = inherited.anchor_of.read_value()
        others = anchor_of == PAD
        lent = self._lent(scores, tf.where(others)[:, 0])
        count = tf.shape(scores)[1]
        place = tf.where(others, count - 1 + tf.cumsum(tf.cast(others, tf.int32)), anchor_of)
        combined = self._combined(
            scores,
            tf.gather(tf.concat([scores, lent], axis=1), place, axis=1),
            inherited.demand.read_value(),
        )
        if self._evidence is not None:
            combined += self._heard(users, scores, self._evidence.of.read_value())
        has_history = _has_history(users)
        return tf.cond(
            tf.reduce_all(has_history),
            lambda: combined,
            lambda: tf.where(has_history, combined, self._from_profile(users)),
        )

    def _from_profile(self, users: Query) -> tf.Tensor:
        """Logits of users without history over all items: float32 [B, I]."""
        affinity = tf.matmul(users.profile, self._shelf.embeddings(), transpose_b=True)
        return self._inherited.fallback.read_value() + affinity

    def _logits_at(self, users: Query, rows: tf.Tensor) -> tf.Tensor:
        """Logits of B users at rows int [B, N]: float32 [B, N]."""
        shelf, inherited = self._shelf, self._inherited
        scores = self._anchor_scores(users.history)
        index = tf.gather(inherited.anchor_index, rows)
        lent = tf.gather(scores, index, batch_dims=1) * tf.gather(inherited.anchor_weight, rows)
        combined = self._combined(
            scores, tf.reduce_sum(lent, axis=2), tf.gather(inherited.demand, rows)
        )
        if self._evidence is not None:
            places = tf.gather(self._evidence.of.read_value(), rows)
            combined += self._heard(users, scores, places)
        affinity = tf.linalg.matvec(tf.gather(shelf.embeddings(), rows), users.profile)
        from_profile = tf.gather(inherited.fallback, rows) + affinity
        return tf.where(_has_history(users), combined, from_profile)

    def _combined(self, scores: tf.Tensor, inherited: tf.Tensor, demand: tf.Tensor) -> tf.Tensor:
        reference = tf.linalg.matvec(scores, self._inherited.reference_weight.read_value())
        return retrieval_logits(
            inherited=inherited, reference=reference[:, tf.newaxis], demand=demand
        )

    def _heard(self, users: Query, scores: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Logits that the first interactions of items add, 0 for items without any.

        Args:
            users: B users.
            scores: float32 [B, A], of the anchors.
            places: int32 [N] or [B, N], of items in the columns of evidence, PAD for none.

        Returns:
            float32 [B, N], or a single 0 while no item has any.
        """
        assert self._evidence is not None
        evidence, inherited = self._evidence, self._inherited

        def heard() -> tf.Tensor:
            anchors = tf.gather(inherited.anchor_of.read_value(), tf.maximum(users.history, 0))
            known = (users.history != PAD) & (anchors != PAD)
            pairs = tf.stack(
                [tf.where(known)[:, 0], tf.cast(tf.boolean_mask(anchors, known), tf.int64)], axis=1
            )
            bought = tf.tensor_scatter_nd_max(
                tf.zeros_like(scores), pairs, tf.ones([tf.shape(pairs)[0]])
            )
            of_items = evidence_logits(evidence, inherited, tf.nn.relu(scores), bought)
            of_items = tf.pad(of_items, [[0, 0], [1, 0]])
            if places.shape.rank == 1:
                return tf.gather(of_items, places + 1, axis=1)
            return tf.gather(of_items, places + 1, batch_dims=1)

        return tf.cond(tf.size(evidence.row) > 0, heard, lambda: tf.zeros([1, 1]))

    def _estimates(self, users: Query) -> tf.Tensor:
        """What the embeddings alone tell of the logits, in any unit: float32 [B, I].

        One scan over the embeddings for all users. A user's direction is that which best tells all
        anchors' scores, and as much of the mean of the best anchors: the first alone fits the many
        that are not wanted. Whoever has no history gets the logits themselves: those are cheap.
        """
        shelf, inherited = self._shelf, self._inherited
        scores = self._anchor_scores(users.history)
        centred = scores - tf.reduce_mean(scores, axis=1, keepdims=True)
        fitted = tf.matmul(centred, inherited.anchor_probe, transpose_b=True)
        wanted = tf.matmul(tf.square(tf.nn.relu(scores)), inherited.anchor_embedding)
        directions = tf.math.l2_normalize(fitted, axis=1) + tf.math.l2_normalize(wanted, axis=1)
        has_history = _has_history(users)
        directions = tf.where(has_history, directions, users.profile)
        estimates = tf.matmul(directions, shelf.embeddings(), transpose_b=True)
        return tf.cond(
            tf.reduce_all(has_history),
            lambda: estimates,
            lambda: estimates + tf.where(has_history, 0.0, inherited.fallback.read_value()),
        )

    def _anchor_scores(self, history: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors: int64 [B, H] to float32 [B, A]."""
        inherited = self._inherited
        anchors = tf.gather(inherited.anchor_of.read_value(), tf.maximum(history, 0))
        known = (history != PAD) & (anchors != PAD) & ~_repeated(history)
        rows = tf.shape(history)[0]
        member = tf.one_hot(tf.where(known)[:, 0], rows, axis=0)
        teacher = tf.gather(inherited.anchor_teacher, tf.boolean_mask(anchors, known))
        return tf.matmul(member, teacher)

    def _lent(self, scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Anchor scores float32 [B, A] handed to items: rows int64 [N] to float32 [B, N]."""
        inherited = self._inherited
        lent = tf.gather(scores, tf.gather(inherited.anchor_index, rows), axis=1)
        return tf.reduce_sum(lent * tf.gather(inherited.anchor_weight, rows), axis=2)

    def _candidates(self, users: Query, scores: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """Scores float32 [B, I], OUT for what may not be recommended."""
        shelf = self._shelf
        bought = shelf.purchases(users.user)
        rows = tf.cast(tf.gather(shelf.user_items, bought.values), tf.int64)
        scores = _without(tf.where(allowed, scores, OUT), bought.value_rowids(), rows)
        return _without_columns(scores, users.excluded)

    def _ranks(self, users: Query, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidates = _without_columns(self._logits(users), users.excluded)
        known = items != PAD
        own = tf.gather(candidates, tf.maximum(items, 0), batch_dims=1)
        own = tf.where(known, own, OUT)[:, tf.newaxis]
        # The item itself counts once, also where it is not cold or not known.
        itself = tf.one_hot(items, tf.shape(candidates)[1])
        ahead = tf.cast(candidates >= own, tf.float32) * (1.0 - itself)
        cold = tf.cast(self._shelf.is_cold, tf.float32)
        return tf.reduce_sum(ahead, axis=1) + 1.0, tf.linalg.matvec(ahead, cold) + 1.0


def _has_history(users: Query) -> tf.Tensor:
    return tf.reduce_any(users.history != PAD, axis=1, keepdims=True)


def _repeated(rows: tf.Tensor) -> tf.Tensor:
    """Whether a value stands further left in its row too: int [B, H] to bool [B, H]."""
    equal = rows[:, :, tf.newaxis] == rows[:, tf.newaxis, :]
    earlier = tf.linalg.band_part(tf.ones_like(equal), -1, 0) & ~tf.eye(
        tf.shape(rows)[1], dtype=tf.bool
    )
    return tf.reduce_any(equal & earlier, axis=2)


def _grouped(values: tf.Tensor, groups: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """[B, ...] to [groups, size, ...]; the last group is filled up with the first row."""
    missing = groups * size - tf.shape(values)[0]
    filled = tf.concat([values, tf.repeat(values[:1], missing, axis=0)], axis=0)
    return tf.reshape(filled, tf.concat([[groups, size], tf.shape(values)[1:]], axis=0))


def _without(scores: tf.Tensor, user: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Strike rows int64 [N] of users int64 [N] from scores float32 [B, I]."""
    return tf.tensor_scatter_nd_update(
        scores, tf.stack([user, rows], axis=1), tf.fill([tf.size(rows)], OUT)
    )


def _without_columns(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Strike rows int64 [B, E] (PAD is none) from scores float32 [B, I]."""
    listed = rows != PAD
    return _without(scores, tf.where(listed)[:, 0], tf.boolean_mask(rows, listed))


def top(logits: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best along the last axis, fewer where there are fewer: values and places.

    Raises (when run):
        InvalidArgumentError: k is below 1.
    """
    with tf.control_dependencies([tf.debugging.Assert(k >= 1, ["k must be at least 1, it is", k])]):
        best = tf.math.top_k(logits, k=tf.minimum(k, tf.shape(logits)[-1]))
    return best.values, best.indices


def top_blockwise(scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best of very many, at least k: values and places, float32 and int32 [B, k].

    The k best lie in the k blocks with the best maxima, so only those are sorted.
    """
    rows, size = tf.unstack(tf.shape(scores))
    padded = tf.pad(scores, [[0, 0], [0, -size % _BLOCK]], constant_values=OUT)
    blocks = tf.reshape(padded, [rows, -1, _BLOCK])
    best = tf.math.top_k(tf.reduce_max(blocks, axis=2), k=tf.minimum(k, tf.shape(blocks)[1]))
    chosen = tf.sort(best.indices, axis=1)  # among equals the first place wins, as in `top`
    held = tf.reshape(tf.gather(blocks, chosen, batch_dims=1), [rows, -1])
    best = tf.math.top_k(held, k=k)
    block = tf.gather(chosen, best.indices // _BLOCK, batch_dims=1)
    return best.values, tf.minimum(block * _BLOCK + best.indices % _BLOCK, size - 1)
