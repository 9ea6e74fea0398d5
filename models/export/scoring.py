"""Logits of queries over the shelf: by them items are ranked for a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.columns import Columns, take
from models.exploration.exploration import learned_logits
from models.export.adapter import evidence_logits
from models.export.groups import at_once
from models.export.lists import repeated
from models.export.query import Query
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.shelf.shelf import Shelf
from models.towers import retrieval_logits


class Bought(NamedTuple):
    """The N different anchors of users' histories.

    Attributes:
        user: int64 [N].
        anchor: int32 [N], places among the anchors.
    """

    user: tf.Tensor
    anchor: tf.Tensor


class Scores(NamedTuple):
    """The anchors that B users bought, and what follows for all A of them: float32 [B, A]."""

    bought: Bought
    anchors: tf.Tensor


class Known(NamedTuple):
    """What the score of one item for each of B users is made of, where there is a history.

    Attributes:
        scores: float32 [B, A], of the anchors.
        reference: float32 [B], what inherited scores are relative to.
        evidence: float32 [B], what the item's first interactions add.
    """

    scores: tf.Tensor
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

    def logits(self, users: Query) -> tf.Tensor:
        """Logits of B users over all items: float32 [B, I]."""
        inherited = self._inherited
        bought, scores = self.of_anchors(users)
        combined = self._combined(
            scores, inherited.lent_to_all(scores), inherited.demand.read_value()
        )
        if self._evidence is not None:
            combined += self._heard(bought, scores, self._evidence.of.read_value())
        has_history = users.has_history
        logits = tf.cond(
            tf.reduce_all(has_history),
            lambda: combined,
            lambda: tf.where(has_history, combined, self._from_profile(users)),
        )
        return self.with_learned(logits, lambda learned: learned)

    def logits_at(self, users: Query, rows: tf.Tensor, known: Scores | None = None) -> tf.Tensor:
        """Logits of B users at rows int [B, N]: float32 [B, N]."""
        inherited = self._inherited
        bought, scores = known or self.of_anchors(users)
        combined = self._combined(
            scores, inherited.lent_at(scores, rows), take(inherited.demand, rows)
        )
        if self._evidence is not None:
            places = take(self._evidence.of, rows)
            combined += self._heard(bought, scores, places)

        def from_profile() -> tf.Tensor:
            affinity = tf.linalg.matvec(self._shelf.embeddings(rows), users.profile)
            return take(inherited.fallback, rows) + affinity

        has_history = users.has_history
        logits = tf.cond(
            tf.reduce_all(has_history),
            lambda: combined,
            lambda: tf.where(has_history, combined, from_profile()),
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
        bought, scores = self.of_anchors(query)
        reference = tf.linalg.matvec(scores, self._inherited.reference_weight.read_value())
        evidence = tf.zeros_like(reference)
        if self._evidence is not None:
            places = take(self._evidence.of, items[:, tf.newaxis])
            evidence += self._heard(bought, scores, places)[:, 0]
        return Known(scores, reference, tf.where(query.has_history[:, 0], evidence, 0.0))

    def of_anchors(self, users: Query) -> Scores:
        """What follows from the histories of B users for all anchors."""
        bought = self._bought(users.history)
        return Scores(bought, self._anchor_scores(bought, tf.shape(users.history)[0]))

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
        """Logits of users without history over all items: float32 [B, I]."""
        everything = tf.cast(self._shelf.embedding.read_value(), tf.float32)
        affinity = tf.matmul(users.profile, everything, transpose_b=True)
        return self._inherited.fallback.read_value() + affinity

    def _combined(self, scores: tf.Tensor, inherited: tf.Tensor, demand: tf.Tensor) -> tf.Tensor:
        reference = tf.linalg.matvec(scores, self._inherited.reference_weight.read_value())
        return retrieval_logits(
            inherited=inherited, reference=reference[:, tf.newaxis], demand=demand
        )

    def _heard(self, bought: Bought, scores: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Logits that the first interactions of items add, 0 for items without any.

        Args:
            bought: by B users.
            scores: float32 [B, A], of the anchors.
            places: int32 [N] or [B, N], of items in the columns of evidence, PAD for none.

        Returns:
            float32 [B, N], or a single 0 while no item has any.
        """
        assert self._evidence is not None
        evidence, inherited = self._evidence, self._inherited

        def heard() -> tf.Tensor:
            pairs = tf.stack([bought.user, tf.cast(bought.anchor, tf.int64)], axis=1)
            history = tf.tensor_scatter_nd_update(
                tf.zeros_like(scores), pairs, tf.ones([tf.shape(pairs)[0]])
            )
            of_items = evidence_logits(evidence, inherited, tf.nn.relu(scores), history)
            of_items = tf.pad(of_items, [[0, 0], [1, 0]])
            if places.shape.rank == 1:
                return tf.gather(of_items, places + 1, axis=1)
            return tf.gather(of_items, places + 1, batch_dims=1)

        return tf.cond(tf.size(evidence.row) > 0, heard, lambda: tf.zeros([1, 1]))

    def _bought(self, history: tf.Tensor) -> Bought:
        """The different anchors of histories int64 [B, H]."""
        anchors = self._inherited.anchors(history)
        known = (anchors != PAD) & ~repeated(history)
        return Bought(tf.where(known)[:, 0], tf.boolean_mask(anchors, known))

    def _anchor_scores(self, bought: Bought, users: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors for B users: float32 [B, A]."""
        return self._inherited.scores(bought.anchor, bought.user, users)
