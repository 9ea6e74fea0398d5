"""Scores of queries over the shelf: the retrieval logit of every item, and the rating of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import tensorflow as tf

from models.candidates.search import LONGEST, as_usual
from models.columns import Columns, take
from models.exploration.exploration import OUT, Lists, explore, learned_logits, request_seeds
from models.export.adapter import evidence_logits
from models.export.groups import at_once, in_groups
from models.export.lists import first_listed, is_listed, repeated, top, without
from models.export.query import Query
from models.export.shortlist import shortlist
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.options import SMALL
from models.rating import likeness, recent_places
from models.shelf.shelf import Shelf
from models.towers import retrieval_logits
from models.two_tower import TwoTower

# Neighbours whose best members get a full score in a larger catalogue.
BLOCKS: Final = 1024
# Users that are scored together where only a shortlist is.
_USERS: Final = 16
_LOGITS: Final = tf.TensorSpec([None, None], tf.float32)
_ROWS: Final = tf.TensorSpec([None, None], tf.int32)
_RANK: Final = tf.TensorSpec([None], tf.float32)


class Bought(NamedTuple):
    """The N different anchors of users' histories.

    Attributes:
        user: int64 [N].
        anchor: int32 [N], places among the anchors.
    """

    user: tf.Tensor
    anchor: tf.Tensor


class Ranked(NamedTuple):
    """Where one item stands for each of B users, and what else would have been listed.

    Attributes:
        rank: float32 [B], among all candidates, 1 being best.
        cold_rank: float32 [B], among those that training never saw.
        listed: int32 [B, `LISTED`], rows of the best candidates, PAD at the end.
        cold_listed: int32 [B, `LISTED`], of the best that training never saw.
        candidates: float32 [B], how many there are.
        cold_candidates: float32 [B], how many of them training never saw.
    """

    rank: tf.Tensor
    cold_rank: tf.Tensor
    listed: tf.Tensor
    cold_listed: tf.Tensor
    candidates: tf.Tensor
    cold_candidates: tf.Tensor


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
    """The trained heads over the shelf's columns."""

    def __init__(
        self, *, shelf: Shelf, inheritance: Inherited, model: TwoTower,
        evidence: Columns | None = None, exploration: Columns | None = None,
    ) -> None:  # fmt: skip
        """Score by the shelf and one of its two inheritances, with or without what came since."""
        super().__init__(name="scorer")
        self._shelf = shelf
        self._inherited = inheritance
        self._model = model
        self._evidence = evidence
        self._exploration = exploration

    def best(
        self, query: Query, allowed: tf.Tensor, k: tf.Tensor, boost: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best items of each user, without what is excluded or was bought.

        In a large catalogue the full score is only computed for a shortlist, which the index finds
        where there is one.

        Args:
            query: B users.
            allowed: bool [I].
            k: int32 [].
            boost: float32 [I], added to the logits; a shortlist is made without it.

        Returns:
            logits float32 [B, min(k, I)], `OUT` where there is no candidate left, and rows int32.
        """

        def among_all(users: Query) -> tuple[tf.Tensor, tf.Tensor]:
            logits = self._logits(users)
            if boost is not None:
                logits += boost
            return top(self._candidates(users, logits, allowed), k)

        def ranked(
            users: Query, rows: tf.Tensor, excluded: tf.Tensor, scores: Scores | None = None
        ) -> tuple[tf.Tensor, tf.Tensor]:
            stays = tf.gather(allowed, rows) & ~is_listed(rows, excluded)
            logits = self._logits_at(users, rows, scores)
            if boost is not None:
                logits += tf.gather(boost, rows)
            best, places = top(tf.where(stays, logits, OUT), k)
            return best, tf.gather(rows, places, batch_dims=1)

        def among_shortlist(users: Query) -> tuple[tf.Tensor, tf.Tensor]:
            excluded = self._excluded(users)
            rows = self._shortlist(users, allowed, tf.shape(excluded)[1])
            return ranked(users, rows, excluded)

        index = self._shelf.index
        scanned = tf.cond(
            index.is_built() & (k <= LONGEST),
            lambda: index.scan(allowed, k),
            lambda: tf.constant(0),
        )

        def among_candidates(user: Query) -> tuple[tf.Tensor, tf.Tensor]:
            excluded, scores = self._excluded(user), self._scores(user)
            rows, is_known = self._candidates_of(user, scores, allowed, excluded, scanned, k)
            best, rows = ranked(user, rows, excluded, scores)
            is_full = (tf.shape(best)[1] == k) & tf.reduce_all(best > OUT)
            best, rows = tf.cond(
                is_known & is_full, lambda: (best, rows), lambda: among_shortlist(user)
            )
            return best, rows

        items, types = tf.size(allowed), (_LOGITS, _ROWS)
        best, rows = tf.cond(
            scanned > 0,
            lambda: in_groups(among_candidates, query, 1, types),
            lambda: tf.cond(
                (items > SMALL) & (k <= BLOCKS),
                lambda: in_groups(among_shortlist, query, _USERS, types),
                lambda: in_groups(among_all, query, at_once(items), types),
            ),
        )
        return best, rows

    def explored(
        self, query: Query, usual: tuple[tf.Tensor, tf.Tensor], allowed: tf.Tensor, k: tf.Tensor,
        *, boost: tf.Tensor | None, user_id: tf.Tensor, history: tf.Tensor,
    ) -> Lists:  # fmt: skip
        """Lists with the explored share of their places given to new items.

        Args:
            query: B users.
            usual: their lists without exploration, as of `best`.
            allowed: bool [I].
            k: int32 [].
            boost: float32 [I], as of `best`.
            user_id: string [B], of the request: it decides by which draw is explored.
            history: string [B, H], likewise.
        """
        assert self._exploration is not None
        exploration = self._exploration
        lists = Lists(*usual, tf.ones_like(usual[0]))

        def of_group(asked: tuple[Query, Lists, tf.Tensor]) -> Lists:
            users, lists, seeds = asked
            new = tf.tile(exploration.row[tf.newaxis], [tf.shape(seeds)[0], 1])
            stays = tf.gather(allowed, new) & ~is_listed(new, self._excluded(users))
            logits = self._logits_at(users, new)
            if boost is not None:
                logits += tf.gather(boost, new)
            return explore(exploration, lists, tf.where(stays, logits, OUT), seeds, k)

        def explores() -> Lists:
            seeds = request_seeds(exploration, user_id, history)
            together = at_once(tf.size(exploration.draw))
            answered = Lists(_LOGITS, _ROWS, _LOGITS)
            found: Lists = in_groups(of_group, (query, lists, seeds), together, answered)
            return found

        is_on = (exploration.share[0] > 0.0) & (tf.size(exploration.row) > 0)
        found: Lists = tf.cond(is_on, explores, lambda: lists)
        return found

    def scores(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The logit of one item for each user: rows int64 [B] to float32 [B]."""
        return self._logits_at(query, items[:, tf.newaxis])[:, 0]

    def known(self, query: Query, items: tf.Tensor) -> Known:
        """What the logit of one item for each user is made of: rows int64 [B]."""
        bought, scores = self._scores(query)
        reference = tf.linalg.matvec(scores, self._inherited.reference_weight.read_value())
        evidence = tf.zeros_like(reference)
        if self._evidence is not None:
            places = take(self._evidence.of, items[:, tf.newaxis])
            evidence += self._heard(bought, scores, places)[:, 0]
        return Known(scores, reference, tf.where(_has_history(query)[:, 0], evidence, 0.0))

    def ranked(self, query: Query, items: tf.Tensor, span: tf.Tensor) -> Ranked:
        """Where one item for each user stands, among all items and among the cold ones.

        Candidates are those that were there in the user's span: int64 [B], 0 for all.
        Ties rank behind, so that a collapsed model is not mistaken for a perfect one; an item
        that is not on the shelf (PAD) ranks last.
        """
        together = at_once(tf.size(self._shelf.is_new))
        answered = Ranked(_RANK, _RANK, _ROWS, _ROWS, _RANK, _RANK)
        ranked: Ranked = in_groups(
            lambda asked: self._ranked(*asked), (query, items, span), together, answered
        )
        return ranked

    def rating(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        """The rating of one item for each user: rows int64 [B] to float32 [B] in [0, 1]."""
        known = tf.cast(items != PAD, tf.float32)[:, tf.newaxis]
        item = self._shelf.embeddings(tf.maximum(items, 0)) * known
        recent = recent_places(query.history != PAD)
        latest = tf.gather(query.history, recent, batch_dims=1)
        rating = self._model.rating(
            ratings=query.rating,
            expected=take(self._inherited.quality, tf.maximum(query.history, 0)),
            rated=query.rated,
            like=self._likeness(query.history, item),
            history=self._mean_interest(query.history),
            recent=recent,
            interests=self.interests(latest),
            present=tf.cast(latest != PAD, tf.float32),
            profile=query.profile,
            quality=take(self._inherited.quality, tf.maximum(items, 0)) * known[:, 0],
            item=item,
        )
        return tf.clip_by_value(rating, 0.0, 1.0)

    def interests(self, history: tf.Tensor) -> tf.Tensor:
        """One interest per item of the history: int64 [B, H] to float32 [B, H, D], zeros pad."""
        present = tf.cast(history != PAD, tf.float32)[:, :, tf.newaxis]
        return self._shelf.embeddings(tf.maximum(history, 0)) * present

    def _likeness(self, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Of histories int64 [B, H] to an embedding float32 [B, D] each: [B, H], zeros pad."""
        present = tf.where(history != PAD)
        own = self._shelf.embeddings(tf.gather_nd(history, present))
        cosine = tf.reduce_sum(own * tf.gather(item, present[:, 0]), axis=1)
        shape = tf.shape(history, out_type=tf.int64)
        return tf.scatter_nd(present, likeness(cosine), shape)

    def _mean_interest(self, history: tf.Tensor) -> tf.Tensor:
        """Mean of `interests` without the padding, which a long history is full of: [B, D]."""
        present = history != PAD
        rows = tf.boolean_mask(history, present)
        member = tf.one_hot(tf.where(present)[:, 0], tf.shape(history)[0], axis=0)
        total = tf.matmul(member, self._shelf.embeddings(rows))
        return total / tf.maximum(tf.reduce_sum(member, axis=1, keepdims=True), 1.0)

    def _logits(self, users: Query) -> tf.Tensor:
        """Logits of B users over all items: float32 [B, I]."""
        inherited = self._inherited
        bought, scores = self._scores(users)
        combined = self._combined(
            scores, inherited.lent_to_all(scores), inherited.demand.read_value()
        )
        if self._evidence is not None:
            combined += self._heard(bought, scores, self._evidence.of.read_value())
        has_history = _has_history(users)
        logits = tf.cond(
            tf.reduce_all(has_history),
            lambda: combined,
            lambda: tf.where(has_history, combined, self._from_profile(users)),
        )
        return self.with_learned(logits, lambda learned: learned)

    def _from_profile(self, users: Query) -> tf.Tensor:
        """Logits of users without history over all items: float32 [B, I]."""
        everything = tf.cast(self._shelf.embedding.read_value(), tf.float32)
        affinity = tf.matmul(users.profile, everything, transpose_b=True)
        return self._inherited.fallback.read_value() + affinity

    def _logits_at(self, users: Query, rows: tf.Tensor, known: Scores | None = None) -> tf.Tensor:
        """Logits of B users at rows int [B, N]: float32 [B, N]."""
        inherited = self._inherited
        bought, scores = known or self._scores(users)
        combined = self._combined(
            scores, inherited.lent_at(scores, rows), take(inherited.demand, rows)
        )
        if self._evidence is not None:
            places = take(self._evidence.of, rows)
            combined += self._heard(bought, scores, places)

        def from_profile() -> tf.Tensor:
            affinity = tf.linalg.matvec(self._shelf.embeddings(rows), users.profile)
            return take(inherited.fallback, rows) + affinity

        has_history = _has_history(users)
        logits = tf.cond(
            tf.reduce_all(has_history),
            lambda: combined,
            lambda: tf.where(has_history, combined, from_profile()),
        )
        return self.with_learned(logits, lambda learned: tf.gather(learned, rows))

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

    def _shortlist(self, users: Query, allowed: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
        """Rows whose embeddings promise the best logits: int32 [B, N].

        A user's direction is that which best tells all anchors' scores, and as much of the mean of
        the best anchors: the first alone fits the many that are not wanted. Whoever has no history
        gets the logits themselves: those are cheap.

        Args:
            users: B users.
            allowed: bool [I].
            excluded: int32 [], how many rows may be struck from the list of a user.
        """
        inherited = self._inherited
        _, scores = self._scores(users)
        centred = scores - tf.reduce_mean(scores, axis=1, keepdims=True)
        fitted = tf.matmul(centred, inherited.floats("anchor_probe"), transpose_b=True)
        wanted = tf.matmul(tf.square(tf.nn.relu(scores)), inherited.floats("anchor_embedding"))
        directions = tf.math.l2_normalize(fitted, axis=1) + tf.math.l2_normalize(wanted, axis=1)
        has_history = _has_history(users)
        without = 1.0 - tf.cast(tf.transpose(has_history), tf.float32)

        def adjust(estimates: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
            fallback = inherited.fallback[start:end, tf.newaxis]
            return tf.where(allowed[start:end, tf.newaxis], estimates + fallback * without, OUT)

        is_plain = tf.reduce_all(has_history) & tf.reduce_all(allowed)
        return shortlist(
            tf.where(has_history, directions, users.profile),
            self._shelf.embedding.read_value(),
            BLOCKS + excluded,
            adjust=lambda estimates, start, end: tf.cond(
                is_plain, lambda: estimates, lambda: adjust(estimates, start, end)
            ),
        )

    def _candidates_of(
        self, user: Query, scores: Scores, allowed: tf.Tensor, excluded: tf.Tensor,
        scanned: tf.Tensor, k: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
        """Rows of one user that may have the best scores, by the index.

        The anchors have their scores already, so as many of the best of them as a list may hold are
        candidates beside what the index finds.

        Args:
            user: B = 1.
            scores: of that user.
            allowed: bool [I].
            excluded: int64 [1, E], rows that are never recommended.
            scanned: int32 [], how much of the index is looked at.
            k: int32 [], places of the list.

        Returns:
            rows int32 [1, N], all different, and whether the index tells anything of the user: of
            somebody with a profile but no history it does not.
        """
        index = self._shelf.index

        def by_history() -> tf.Tensor:
            anchors = take(self._shelf.buyers.anchor_item, tf.range(tf.shape(scores.anchors)[1]))
            demand = take(self._inherited.demand, anchors)
            stays = tf.gather(allowed, anchors) & ~is_listed(anchors[tf.newaxis], excluded)[0]
            wanted = self._combined(scores.anchors, scores.anchors, demand)[0]
            best = tf.math.top_k(
                tf.where(stays, wanted, OUT),
                tf.minimum(as_usual(k), tf.size(anchors)),
                sorted=False,
            )
            found = index.rows_of(scores.anchors[0], allowed, scanned, k)
            return tf.concat([tf.gather(anchors, best.indices), found], axis=0)

        has_history = _has_history(user)[0, 0]
        rows = tf.cond(has_history, by_history, index.popular.read_value)
        return rows[tf.newaxis], has_history | tf.reduce_all(user.profile == 0.0)

    def _scores(self, users: Query) -> Scores:
        bought = self._bought(users.history)
        return Scores(bought, self._anchor_scores(bought, tf.shape(users.history)[0]))

    def _bought(self, history: tf.Tensor) -> Bought:
        """The different anchors of histories int64 [B, H]."""
        anchors = self._inherited.anchors(history)
        known = (anchors != PAD) & ~repeated(history)
        return Bought(tf.where(known)[:, 0], tf.boolean_mask(anchors, known))

    def _anchor_scores(self, bought: Bought, users: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors for B users: float32 [B, A]."""
        return self._inherited.scores(bought.anchor, bought.user, users)

    def _excluded(self, users: Query) -> tf.Tensor:
        """Rows that are never recommended: int64 [B, N], PAD where there are fewer."""
        bought = self._shelf.purchases(users.user)
        rows = bought.with_values(take(self._shelf.user_items, bought.values))
        return tf.concat([tf.cast(rows.to_tensor(PAD), tf.int64), users.excluded], axis=1)

    def _candidates(self, users: Query, scores: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """Scores float32 [B, I], OUT for what may not be recommended."""
        return without(tf.where(allowed, scores, OUT), self._excluded(users))

    def _ranked(self, users: Query, items: tf.Tensor, span: tf.Tensor) -> Ranked:
        shelf, span = self._shelf, tf.cast(span, tf.int32)[:, tf.newaxis]
        there = (shelf.span.read_value() <= span) | (span == 0)
        allowed = there & ~shelf.is_new.read_value()
        candidates = without(tf.where(allowed, self._logits(users), OUT), users.excluded)
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


def _has_history(users: Query) -> tf.Tensor:
    return tf.reduce_any(users.history != PAD, axis=1, keepdims=True)
