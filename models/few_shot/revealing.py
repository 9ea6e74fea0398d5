"""Simulated launches whose items reveal their first interactions, and who bought them later."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Doubles, Floats, Rows
from models.few_shot import evidence
from models.few_shot.clock import ShopClock
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import purchase_matrix
from models.interactions import Interactions
from models.ranking import PLACES, ranking_quality
from models.sampling import at_most
from models.towers import user_logits

# Numbers of first interactions that something is learned of.
COUNTS: Final = (1, 2, 3, 5, 10)
# Items without whose number nothing is said.
FEWEST_ITEMS: Final = 20
_LATER: Final = 3  # interactions that must follow the k-th, to be predicted
_MOST_ITEMS: Final = 2000
_USERS: Final = 800
_SAMPLE: Final = 2048
_CHUNK: Final = 512
_STRUCK: Final = -100.0


class Launched(NamedTuple):
    """One launch whose targets revealed their first k interactions; n users, m items.

    Attributes:
        logits: float32 [n, m] of the text model.
        wanted: float32 [n, m] of 0 and 1, later interactions.
        struck: float32 [n, m], a large negative number for what a user has already.
        features: float64 [m, F].
        inherit: float32 [n, m].
        own: float32 [n, m].
        level: log of how much more such items are bought than the text expects.
    """

    logits: Floats
    wanted: Floats
    struck: Floats
    features: Doubles
    inherit: Floats
    own: Floats
    level: float

    def recall(self, weights: EvidenceWeights | None) -> float:
        """Recall@20 of the later interactions; with None by text alone."""
        logits = self.logits + self.struck
        if weights is not None:
            scaled = self.scaled(weights.center, weights.precision)
            row = (weights.weight[0], weights.inherit, weights.own)
            logits += scaled.added(np.concatenate(row).astype(np.float64))
        return float(ranking_quality(logits, self.wanted, PLACES)[0].mean())

    def scaled(self, center: Doubles | Floats, precision: Doubles | Floats) -> Launched:
        """With features in standard deviations from the mean, as the served model reads them."""
        features = (self.features - center) * precision
        return self._replace(features=np.clip(features, -evidence.CLIP, evidence.CLIP))

    def added(self, weights: Doubles) -> Floats:
        """Logits that the evidence adds: float32 [n, m], by weights float64 [F + 2]."""
        shift = (self.features @ weights[:-2]).astype(np.float32)
        ratios = np.float32(weights[-2]) * self.inherit + np.float32(weights[-1]) * self.own
        added: Floats = shift + ratios
        return added


class Revealing:
    """A launch whose first interactions are revealed; holds what all numbers of them share."""

    def __init__(
        self,
        aligned: AlignedLaunch,
        interactions: Interactions,
        clock: ShopClock,
        anchors_per_item: int,
    ) -> None:
        launch = aligned.launch
        self._aligned, self._clock = aligned, clock
        self._log = _Log.of(interactions, launch.targets)
        self._count = np.bincount(self._log.item, minlength=len(launch.targets))
        width = min(anchors_per_item, len(launch.anchors))
        positive = np.maximum(aligned.weights.T, 0.0)
        # A copy: a view would keep the whole order of [T, A] as long as this lives.
        self._index = np.argpartition(-positive, width - 1, axis=1)[:, :width].copy()
        self._prior = evidence.attention(np.take_along_axis(positive, self._index, axis=1))
        self._reference = np.bincount(
            self._index.ravel(), self._prior.ravel(), minlength=len(launch.anchors)
        ).astype(np.float32) / len(self._index)
        active = at_most(np.flatnonzero(launch.history.getnnz(axis=1)), _SAMPLE)
        lean = evidence.leanings(self._scores(active))
        self._background = lean.mean(axis=0)
        shares = evidence.softmax(self._logits(active)).mean(axis=0, dtype=np.float64)
        self._expected = evidence.expected_share(shares, len(shares))
        self._habit = np.log1p(launch.history.getnnz(axis=1))
        self._lift = self._lifts(self._log.place < max(COUNTS))

    def is_enough(self, count: int) -> bool:
        """Whether enough items have interactions left after the first `count`."""
        return int((self._count >= count + _LATER).sum()) >= FEWEST_ITEMS

    def reveal(self, count: int, *, tested_after: int | None = None) -> Launched | None:
        """Reveal the first `count` interactions of the items that have some left to predict.

        Args:
            count: k.
            tested_after: interactions after that many are predicted; None: after the k-th.
        """
        log, launch = self._log, self._aligned.launch
        after = count if tested_after is None else tested_after
        reached = at_most(np.flatnonzero(self._count >= after + _LATER), _MOST_ITEMS)
        if len(reached) < 2:
            return None
        column = np.full(len(launch.targets), -1)
        column[reached] = np.arange(len(reached))
        kept = column[log.item] >= 0
        given = kept & (log.place < count)
        lifts = np.zeros((len(reached), self._prior.shape[1]), np.float32)
        np.add.at(lifts, column[log.item[given]], self._lift[given])
        known = np.full(len(reached), count)
        adapted = evidence.posterior(self._prior[reached], lifts, known)
        shape = (launch.history.shape[0], len(reached))
        early, late = kept & (log.place < after), kept & (log.place >= after)
        had = purchase_matrix(log.user[early], column[log.item[early]], shape)
        later = purchase_matrix(log.user[late], column[log.item[late]], shape)
        later = (later > had).astype(np.float32).tocsr()
        active = (later.getnnz(axis=1) > 0) & (launch.history.getnnz(axis=1) > 0)
        users = at_most(np.flatnonzero(active), _USERS)
        if not len(users):
            return None
        history = launch.history[users]
        return Launched(
            logits=self._logits(users)[:, reached],
            wanted=later[users].toarray(),
            struck=_STRUCK * had[users].toarray(),
            features=self._features(given, column, reached, count),
            inherit=self._ratio(np.maximum(self._scores(users), 0.0), reached, adapted),
            own=self._ratio(history.toarray(), reached, adapted),
            level=self._level(count),
        )

    def _features(
        self, given: npt.NDArray[np.bool_], column: Rows, reached: Rows, count: int
    ) -> Doubles:
        log = self._log
        item, time = column[log.item[given]], self._clock.at(log.timestamp[given])
        first, last = np.full(len(reached), np.inf), np.full(len(reached), -np.inf)
        np.minimum.at(first, item, time)
        np.maximum.at(last, item, time)

        def mean(values: Floats) -> Doubles:
            return np.bincount(item, values, minlength=len(reached)) / count

        return evidence.features(
            count=np.full(len(reached), count), first=first, last=last,
            expected=self._expected[reached].astype(np.float64),
            habit=mean(self._habit[log.user[given]]), rating=mean(log.rating[given]),
        )  # fmt: skip

    def _ratio(self, scores: Floats, reached: Rows, adapted: Floats) -> Floats:
        index = self._index[reached]
        new, old = (
            scores @ _dense(index, weight, scores.shape[1]).T
            for weight in (adapted, self._prior[reached])
        )
        return evidence.log_ratio(new, old, scores @ self._reference)

    def _level(self, count: int) -> float:
        """Interactions after the k-th of those that got there, against all items' whole life."""
        share, some = np.exp(self._expected), self._count >= count
        more = ((self._count[some] - count).mean() + 0.5) / (self._count.mean() + 0.5)
        return float(np.log(more * share.mean() / share[some].mean()))

    def _lifts(self, wanted: npt.NDArray[np.bool_]) -> Floats:
        """`lift` of the supporters to their items' anchors, where wanted: float32 [N, K]."""
        log = self._log
        found = np.zeros((len(log.user), self._prior.shape[1]), np.float32)
        order = np.flatnonzero(wanted)
        order = order[np.argsort(log.user[order], kind="stable")]
        users, start = np.unique(log.user[order], return_index=True)
        start = np.append(start, len(order))
        for begin in range(0, len(users), _CHUNK):
            part = users[begin : begin + _CHUNK]
            rows = order[start[begin] : start[begin + len(part)]]
            lifts = evidence.lift(evidence.leanings(self._scores(part)), self._background)
            place = np.searchsorted(part, log.user[rows])
            found[rows] = lifts[place[:, np.newaxis], self._index[log.item[rows]]]
        return found

    def _scores(self, users: Rows) -> Floats:
        scores: Floats = self._aligned.launch.history[users] @ self._aligned.launch.teacher
        return scores

    def _logits(self, users: Rows) -> Floats:
        """As served while nothing but texts is known of the targets: float32 [n, T]."""
        inherited = self._scores(users) @ self._aligned.weights
        return user_logits(inherited, inherited.mean(axis=1))


class _Log(NamedTuple):
    """The N interactions with a launch's targets, in order of time.

    Attributes:
        user: int32 [N].
        item: int64 [N], column of the launch.
        timestamp: int64 [N].
        rating: float32 [N].
        place: int64 [N], which of its item's interactions it is, from 0.
    """

    user: npt.NDArray[np.int32]
    item: Rows
    timestamp: npt.NDArray[np.int64]
    rating: Floats
    place: Rows

    @classmethod
    def of(cls, interactions: Interactions, targets: Rows) -> _Log:
        column = np.full(max(int(interactions.item.max()), int(targets.max())) + 1, -1)
        column[targets] = np.arange(len(targets))
        item = column[interactions.item]
        order = np.lexsort((item, interactions.user, interactions.timestamp))
        order = order[item[order] >= 0]
        item = item[order]
        by_item = np.argsort(item, kind="stable")
        place = np.empty(len(item), np.int64)
        place[by_item] = np.arange(len(item)) - np.searchsorted(item[by_item], item[by_item])
        return cls(
            user=interactions.user[order], item=item, timestamp=interactions.timestamp[order],
            rating=interactions.rating[order], place=place,
        )  # fmt: skip


def _dense(index: Rows, weight: Floats, anchors: int) -> Floats:
    dense = np.zeros((len(index), anchors), np.float32)
    np.put_along_axis(dense, index, weight, axis=1)
    return dense
