"""The best items of each user: by all scores, by the index, or by a shortlist of a scan."""

from __future__ import annotations

from functools import partial
from typing import Final

import tensorflow as tf

from models.candidates.search import LONGEST, as_usual
from models.columns import take
from models.exploration.exploration import OUT
from models.export.groups import in_groups
from models.export.lists import BestItems, Wanted, is_listed, top, wanted_spec, without
from models.export.query import Query, never_recommended, query_spec
from models.export.scoring import Scorer, Scores
from models.export.shortlist import shortlist
from models.options import SMALL
from models.shelf.shelf import Shelf
from models.tracing import traced_once

# Neighbours whose best members get a full score in a larger catalogue.
BLOCKS: Final = 1024
# Users that are scored together where only a shortlist is.
_USERS: Final = 16
_FOUND: Final = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None, None], tf.int32))


class Retriever(tf.Module):
    """Finds the best items; each in one of three ways, by how large the catalogue is."""

    def __init__(self, *, shelf: Shelf, scorer: Scorer, has_boosts: bool = False) -> None:
        """Retrieve by the scores of what is served; with rules that boost items or without."""
        super().__init__(name="retriever")
        self._shelf = shelf
        self._scorer = scorer
        asked = query_spec(shelf), wanted_spec(has_boosts)
        self._best = traced_once(self._among_any, *asked)
        self._best_of_shortlist = traced_once(self._among_shortlist, *asked)

    def __call__(self, query: Query, wanted: Wanted) -> BestItems:
        """The best items of each user, without what is excluded or was bought.

        In a large catalogue the full score is only computed for a shortlist, which the index finds
        where there is one.

        Args:
            query: B users.
            wanted: what their lists are to hold; a shortlist is made without the boost.

        Returns:
            Lists of min(k, I) items; the logit is `OUT` where there is no candidate left.
        """
        return self._best(query, wanted.tensors())

    def _among_any(self, query: Query, asked: list[tf.Tensor]) -> BestItems:
        wanted = Wanted(*asked)
        index, (allowed, k, _) = self._shelf.index, wanted
        scanned = tf.cond(
            index.is_built() & (k <= LONGEST),
            lambda: index.scan(allowed, k),
            lambda: tf.constant(0),
        )
        among_all = partial(self._among_all, wanted=wanted)
        among_candidates = partial(self._among_candidates, wanted=wanted, scanned=scanned)
        items = tf.size(allowed)
        best, rows = tf.cond(
            scanned > 0,
            lambda: in_groups(among_candidates, query, 1, _FOUND),
            lambda: tf.cond(
                (items > SMALL) & (k <= BLOCKS),
                lambda: in_groups(
                    lambda users: self._best_of_shortlist(users, asked), query, _USERS, _FOUND
                ),
                lambda: in_groups(among_all, query, self._scorer.at_once(), _FOUND),
            ),
        )
        return best, rows

    def _among_all(self, users: Query, wanted: Wanted) -> BestItems:
        logits = self._scorer.logits(users)
        if wanted.boost is not None:
            logits += wanted.boost
        offered = tf.where(wanted.allowed, logits, OUT)
        return top(without(offered, never_recommended(users, self._shelf)), wanted.k)

    def _among_shortlist(self, users: Query, asked: list[tf.Tensor]) -> BestItems:
        wanted = Wanted(*asked)
        excluded = never_recommended(users, self._shelf)
        rows = self._shortlist(users, wanted.allowed, tf.shape(excluded)[1])
        return self._among(users, rows, excluded, wanted)

    def _among_candidates(self, user: Query, wanted: Wanted, scanned: tf.Tensor) -> BestItems:
        """The best of those that the index finds for one user; of a shortlist where those are few.

        `scanned` is int32 [], how much of the index is looked at.
        """
        excluded = never_recommended(user, self._shelf)
        scores = self._scorer.of_anchors(user)
        rows, is_known = self._candidates(user, scores, excluded, wanted, scanned)
        best, rows = self._among(user, rows, excluded, wanted, scores)
        is_full = (tf.shape(best)[1] == wanted.k) & tf.reduce_all(best > OUT)
        best, rows = tf.cond(
            is_known & is_full,
            lambda: (best, rows),
            lambda: self._best_of_shortlist(user, wanted.tensors()),
        )
        return best, rows

    def _among(
        self, users: Query, rows: tf.Tensor, excluded: tf.Tensor, wanted: Wanted,
        scores: Scores | None = None,
    ) -> BestItems:  # fmt: skip
        """The best among rows int32 [B, N] of each user."""
        stays = tf.gather(wanted.allowed, rows) & ~is_listed(rows, excluded)
        logits = self._scorer.logits_at(users, rows, scores)
        if wanted.boost is not None:
            logits += tf.gather(wanted.boost, rows)
        best, places = top(tf.where(stays, logits, OUT), wanted.k)
        return best, tf.gather(rows, places, batch_dims=1)

    def _candidates(
        self, user: Query, scores: Scores, excluded: tf.Tensor, wanted: Wanted, scanned: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
        """Rows of one user that may have the best scores, by the index.

        The anchors have their scores already, so as many of the best of them as a list may hold are
        candidates beside what the index finds.

        Args:
            user: B = 1.
            scores: of that user.
            excluded: int64 [1, E], rows that are never recommended.
            wanted: what the list is to hold.
            scanned: int32 [], how much of the index is looked at.

        Returns:
            rows int32 [1, N], all different, and whether the index tells anything of the user: of
            somebody with a profile but no history that tells it does not.
        """
        index, (allowed, k, _) = self._shelf.index, wanted

        def by_history() -> tf.Tensor:
            anchors = take(self._shelf.buyers.anchor_item, tf.range(tf.shape(scores.anchors)[1]))
            stays = tf.gather(allowed, anchors) & ~is_listed(anchors[tf.newaxis], excluded)[0]
            logits = self._scorer.logits_of_anchors(scores, anchors)[0]
            best = tf.math.top_k(
                tf.where(stays, logits, OUT),
                tf.minimum(as_usual(k), tf.size(anchors)),
                sorted=False,
            )
            found = index.rows_of(scores.anchors[0], allowed, scanned, k)
            return tf.concat([tf.gather(anchors, best.indices), found], axis=0)

        is_told = scores.is_told[0, 0]
        rows = tf.cond(is_told, by_history, index.popular.read_value)
        return rows[tf.newaxis], is_told | tf.reduce_all(user.profile == 0.0)

    def _shortlist(self, users: Query, allowed: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
        """Rows whose embeddings promise the best logits: int32 [B, N].

        A user's direction is that which best tells all anchors' scores, and as much of the mean of
        the best anchors: the first alone fits the many that are not wanted. Whose history tells
        nothing gets the logits themselves: those are cheap.

        Args:
            users: B users.
            allowed: bool [I].
            excluded: int32 [], how many rows may be struck from the list of a user.
        """
        inherited = self._shelf.served
        _, scores, is_told = self._scorer.of_anchors(users)
        centred = scores - tf.reduce_mean(scores, axis=1, keepdims=True)
        fitted = tf.matmul(centred, inherited.floats("anchor_probe"), transpose_b=True)
        wanted = tf.matmul(tf.square(tf.nn.relu(scores)), inherited.floats("anchor_embedding"))
        directions = tf.math.l2_normalize(fitted, axis=1) + tf.math.l2_normalize(wanted, axis=1)
        without = 1.0 - tf.cast(tf.transpose(is_told), tf.float32)

        def adjust(estimates: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
            fallback = inherited.fallback[start:end, tf.newaxis]
            return tf.where(allowed[start:end, tf.newaxis], estimates + fallback * without, OUT)

        is_plain = tf.reduce_all(is_told) & tf.reduce_all(allowed)
        return shortlist(
            tf.where(is_told, directions, users.profile),
            self._shelf.embedding.read_value(),
            BLOCKS + excluded,
            adjust=lambda estimates, start, end: tf.cond(
                is_plain, lambda: estimates, lambda: adjust(estimates, start, end)
            ),
        )
