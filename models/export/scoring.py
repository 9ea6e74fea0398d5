"""Logits of queries over the shelf: by them items are ranked for a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.columns import Columns, take
from models.exploration.exploration import learned_logits
from models.export.adapter import evidence_logits, positive_attention
from models.export.groups import at_once
from models.export.lists import repeated
from models.export.query import Query
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.shelf.shelf import Shelf
from models.towers import retrieval_logits
from models.tracing import traced_once


class Bought(NamedTuple):
    """How much of the A anchors B users bought.

    Attributes:
        user: int64 [N], of the N different anchors in their histories.
        anchor: int32 [N], places among the anchors.
        likened: float32 [B, A], by the other items there, each of which counts as those anchors
            that it is like.
    """

    user: tf.Tensor
    anchor: tf.Tensor
    likened: tf.Tensor

    @classmethod
    def of(cls, inherited: Inherited, item: tf.Tensor, user: tf.Tensor, users: tf.Tensor) -> Bought:
        """By item int64 [N], all different for a user, and user int64 [N], rising, of `users`."""
        anchor = inherited.anchors(item)
        is_anchor = anchor != PAD
        places = tf.where(is_anchor)[:, 0]
        shape = tf.stack([users, inherited.anchor_count()])

        def likened() -> tf.Tensor:
            others = tf.where(~is_anchor)
            index, weight = inherited.lists(tf.gather_nd(item, others))
            owner = tf.cast(tf.gather(user, others), tf.int32)
            pairs = tf.stack([tf.broadcast_to(owner, tf.shape(index)), index], axis=-1)
            return tf.scatter_nd(pairs, positive_attention(weight), shape)

        return cls(
            tf.gather(user, places),
            tf.gather(anchor, places),
            tf.cond(tf.reduce_all(is_anchor), lambda: tf.zeros(shape), likened),
        )

    def scores(self, inherited: Inherited) -> tf.Tensor:
        """Co-purchase scores of the anchors: float32 [B, A]."""
        scores = inherited.scores(self.anchor, self.user, tf.shape(self.likened)[0])
        return tf.cond(
            tf.reduce_any(self.likened > 0.0),
            lambda: scores + inherited.scores_by(self.likened),
            lambda: scores,
        )

    def table(self) -> tf.Tensor:
        """All of it: float32 [B, A]."""
        pairs = tf.stack([self.user, tf.cast(self.anchor, self.user.dtype)], axis=1)
        return tf.tensor_scatter_nd_add(self.likened, pairs, tf.ones([tf.shape(pairs)[0]]))


_BOUGHT = Bought(
    tf.TensorSpec([None], tf.int64),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None, None], tf.float32),
)


class Scores(NamedTuple):
    """What follows from the histories of B users.

    Attributes:
        bought: by them.
        anchors: float32 [B, A], scores of the anchors.
        is_told: bool [B, 1], whether anything follows.
    """

    bought: Bought
    anchors: tf.Tensor
    is_told: tf.Tensor


class Known(NamedTuple):
    """What the score of one item for each of B users is made of, where a history tells.

    Attributes:
        scores: by the histories.
        reference: float32 [B], what inherited scores are relative to.
        evidence: float32 [B], what the item's first interactions add.
    """

    scores: Scores
    reference: tf.Tensor
    evidence: tf.Tensor


class Scorer(tf.Module):
    """Logits by the shelf and one of its two inheritances."""

    def __init__(
        self, *, shelf: Shelf, inheritance: Inherited, evidence: Columns | None = None,
        exploration: Columns | None = None,
    ) -> None:  # fmt: skip
        """Score with or without what came since the training."""
        super().__init__(name="scorer")
        self._shelf = shelf
        self._inherited = inheritance
        self._evidence = evidence
        self._exploration = exploration
        self._told = traced_once(self._of_histories, tf.TensorSpec([None, None], tf.int64))
        self._said = traced_once(
            self._of_evidence, tf.TensorSpec([None, None], tf.float32), _BOUGHT
        )

    def logits(self, users: Query) -> tf.Tensor:
        """Logits of B users over all items: float32 [B, I]."""
        inherited = self._inherited
        known = self.of_anchors(users)
        combined = self._combined(
            known.anchors, inherited.lent_to_all(known.anchors), inherited.demand.read_value()
        )
        if self._evidence is not None:
            combined += self._heard(known, self._evidence.of.read_value())
        logits = tf.cond(
            tf.reduce_all(known.is_told),
            lambda: combined,
            lambda: tf.where(known.is_told, combined, self._from_profile(users)),
        )
        return self.with_learned(logits, lambda learned: learned)

    def logits_at(self, users: Query, rows: tf.Tensor, known: Scores | None = None) -> tf.Tensor:
        """Logits of B users at rows int [B, N]: float32 [B, N]."""
        inherited = self._inherited
        scores = known or self.of_anchors(users)
        combined = self._combined(
            scores.anchors, inherited.lent_at(scores.anchors, rows), take(inherited.demand, rows)
        )
        if self._evidence is not None:
            combined += self._heard(scores, take(self._evidence.of, rows))

        def from_profile() -> tf.Tensor:
            affinity = tf.linalg.matvec(self._shelf.embeddings(rows), users.profile)
            return take(inherited.fallback, rows) + affinity

        logits = tf.cond(
            tf.reduce_all(scores.is_told),
            lambda: combined,
            lambda: tf.where(scores.is_told, combined, from_profile()),
        )
        return self.with_learned(logits, lambda learned: tf.gather(learned, rows))

    def at_once(self) -> tf.Tensor:
        """Users whose logits of all items are computed together: int32 []."""
        return at_once(tf.size(self._inherited.anchor_index))

    def score(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The logit of one item for each user: rows int64 [B] to float32 [B]."""
        return self.logits_at(query, items[:, tf.newaxis])[:, 0]

    def known(self, query: Query, items: tf.Tensor) -> Known:
        """What the logit of one item for each user is made of: rows int64 [B]."""
        scores = self.of_anchors(query)
        weight = self._inherited.reference_weight.read_value()
        reference = tf.linalg.matvec(scores.anchors, weight)
        evidence = tf.zeros_like(reference)
        if self._evidence is not None:
            places = take(self._evidence.of, items[:, tf.newaxis])
            evidence += self._heard(scores, places)[:, 0]
        return Known(scores, reference, tf.where(scores.is_told[:, 0], evidence, 0.0))

    def of_anchors(self, users: Query) -> Scores:
        """What follows from the histories of B users for all anchors."""
        return self._told(users.history)

    def _of_histories(self, history: tf.Tensor) -> Scores:
        """Of histories int64 [B, H]."""
        inherited = self._inherited
        places = tf.where((history != PAD) & ~repeated(history))
        item, user = tf.gather_nd(history, places), places[:, 0]
        bought = Bought.of(inherited, item, user, tf.shape(history)[0])
        is_told = tf.reduce_any(inherited.speaks(history), axis=1, keepdims=True)
        return Scores(bought, bought.scores(inherited), is_told)

    def logits_of_anchors(self, scores: Scores, rows: tf.Tensor) -> tf.Tensor:
        """Logits of the anchors themselves, which stand at rows int32 [A]: float32 [B, A]."""
        demand = take(self._inherited.demand, rows)
        return self._combined(scores.anchors, scores.anchors, demand)

    def with_learned(self, logits: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Logits with what lists have shown of new items, of which `read` takes its own."""
        exploration = self._exploration
        if exploration is None:
            return logits
        items = tf.size(self._shelf.is_new.read_value())
        return tf.cond(
            tf.size(exploration.row) > 0,
            lambda: logits + read(learned_logits(exploration, items)),
            lambda: logits,
        )

    def _from_profile(self, users: Query) -> tf.Tensor:
        """Logits of users whose history tells nothing over all items: float32 [B, I]."""
        everything = tf.cast(self._shelf.embedding.read_value(), tf.float32)
        affinity = tf.matmul(users.profile, everything, transpose_b=True)
        return self._inherited.fallback.read_value() + affinity

    def _combined(self, scores: tf.Tensor, inherited: tf.Tensor, demand: tf.Tensor) -> tf.Tensor:
        reference = tf.linalg.matvec(scores, self._inherited.reference_weight.read_value())
        return retrieval_logits(
            inherited=inherited, reference=reference[:, tf.newaxis], demand=demand
        )

    def _heard(self, known: Scores, places: tf.Tensor) -> tf.Tensor:
        """Logits that the first interactions of items add, 0 for items without any.

        Args:
            known: of B users.
            places: int32 [N] or [B, N], of items in the columns of evidence, PAD for none.

        Returns:
            float32 [B, N], or a single 0 while no item has any.
        """
        assert self._evidence is not None

        def heard() -> tf.Tensor:
            said = self._said(known.anchors, known.bought)
            if places.shape.rank == 1:
                return tf.gather(said, places + 1, axis=1)
            return tf.gather(said, places + 1, batch_dims=1)

        return tf.cond(tf.size(self._evidence.row) > 0, heard, lambda: tf.zeros([1, 1]))

    def _of_evidence(self, scores: tf.Tensor, bought: Bought) -> tf.Tensor:
        """What evidence says of no item, 0, and of those with any: float32 [B, 1 + E].

        Args:
            scores: float32 [B, A], of the anchors.
            bought: by B users.
        """
        assert self._evidence is not None
        said = evidence_logits(self._evidence, self._inherited, tf.nn.relu(scores), bought.table())
        return tf.pad(said, [[0, 0], [1, 0]])
