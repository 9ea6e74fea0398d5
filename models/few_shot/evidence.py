"""What the first interactions of a new item say, as formulas that training and serving share.

The supporters of an item are the users who interacted with it first. They tell how fast the item
sells, and by what else they lean to, which of the anchors it inherits from count.
`models.few_shot.adaptation` learns how much to believe of it, `models.export.adapter` applies
that in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats
from models.columns import WIDENS
from models.few_shot.clock import ShopClock
from models.inheritance.anchors import Inheritance
from models.inheritance.simulation import SimulatedLaunch
from models.interactions import PAD
from models.sampling import at_most
from models.threads import on_all_processors
from models.towers import user_logits

# Of a new item, in the order of the columns of `features`.
FEATURES: Final = ("speed", "left", "log_left", "expected_share", "habit", "rating")
# Those that say how much of the data's time is left. After the data the question has no meaning.
WINDOW: Final = ("left", "log_left")
CLIP: Final = 3.0  # standard deviations
LIFT_FLOOR: Final = 0.3  # an anchor that no supporter leans to keeps 0.3 / 1.3 of its weight
RATIO_FLOOR: Final = 0.05  # of a log-ratio of scores, in means
CLOCK_SCALE: Final = 1000.0
LEFT_FLOOR: Final = 0.02
TINY: Final = 1e-9
_SAMPLE: Final = 2048
# Users that one thread asks: at most so many, and no more than give so many pairs with items.
_USERS_AT_ONCE: Final = 256
_PAIRS_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class Evidence:
    """Columns of the shelf for I items, E of them with evidence, A anchors and K an item.

    Attributes:
        of: int32 [I], place among the items with evidence, PAD for one without.
        row: int32 [E], rows of the items with evidence.
        count: float32 [E, 4], interactions, those of known users, sums of these users' habits and
            of the ratings.
        time: int64 [E, 2], unix seconds of the first and of the last interaction.
        lift: float32 [E, K], sums of the known users' lifts to the item's anchors.
        attention: float32 [E, K], to the item's anchors, after the supporters were heard.
        weight: float32 [E, 2], of inherited scores and of the history itself.
        text: float32 [E, D], the embedding that the text alone gives.
        expected_share: float32 [I], log of the share of choices that a text promises, 0 on
            average; 0 for an anchor.
        cold_attention: float32 [A], mean attention of the items that are no anchors; of all items
            where there are none.
        background: float32 [A], mean leaning of the users to an anchor.
        clock_time: int64 [C], unix seconds, knots of the shop's clock.
        clock_share: float32 [C], share of the shop's interactions by then.
    """

    of: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    count: Floats
    time: npt.NDArray[np.int64]
    lift: Floats = field(metadata={WIDENS: True})
    attention: Floats = field(metadata={WIDENS: True})
    weight: Floats
    text: Floats
    expected_share: Floats
    cold_attention: Floats
    background: Floats
    clock_time: npt.NDArray[np.int64]
    clock_share: Floats


class Choices(NamedTuple):
    """What S users choose from the items that are no anchors; a sample of all users.

    Attributes:
        history: float32 [S, A], sparse, of 0 and 1.
        scores: float32 [S, A], theirs of the anchors, which no item that comes later changes.
        total: float64 [S], sum of the exponentials of their logits.
        items: how many items they choose from.
    """

    history: sp.csr_matrix
    scores: Floats
    total: Doubles
    items: int

    @classmethod
    def of(cls, history: sp.csr_matrix, teacher: Floats, *, total: Doubles, items: int) -> Choices:
        """With the scores that the users have by a teacher, float32 [A, A]."""
        parts = on_all_processors(
            lambda users: history[users] @ teacher, _few_at_once(history.shape[0], len(teacher))
        )
        scores = np.concatenate([np.zeros((0, len(teacher)), np.float32), *parts])
        return cls(history, scores, total, items)

    def expected_share(
        self, index: npt.NDArray[np.int32], weight: Floats, reference: Floats
    ) -> Floats:
        """`Evidence.expected_share` of T items, each as if it came alone: float32 [T].

        Args:
            index: int32 [T, K], the items' anchors.
            weight: float32 [T, K].
            reference: float32 [A], mean weights.
        """
        lent = lent_matrix(index, weight, len(reference))

        def shares(users: slice) -> Doubles:
            logits = inherited_logits(self.scores[users], lent, reference)
            powers = np.exp(logits, dtype=np.float64)
            total: Doubles = (powers / (self.total[users, np.newaxis] + powers)).sum(axis=0)
            return total

        parts = on_all_processors(shares, _few_at_once(len(self.total), len(index)))
        together = sum(parts, start=np.zeros(len(index)))
        return expected_share(together / max(len(self.total), 1), self.items + 1)


def no_evidence(
    inherited: Inheritance, known: SimulatedLaunch, clock: ShopClock, *, embedding_size: int
) -> tuple[Evidence, Choices]:
    """The columns while no item has any: what first interactions will be compared with.

    Args:
        inherited: by all items, from all interactions.
        known: a launch whose anchors are the seen items.
        clock: of the shop.
        embedding_size: D.
    """
    items, width = len(inherited.source), inherited.anchor_index.shape[1]
    anchors = len(known.anchors)
    others = np.flatnonzero(inherited.anchor_of == PAD)
    rows = others if len(others) else np.arange(items)
    index, weight = inherited.lists(rows)
    lent = lent_matrix(index, weight, anchors)
    reference = np.bincount(index.ravel(), attention(weight).ravel(), minlength=anchors)
    users = at_most(np.flatnonzero(known.history.getnnz(axis=1)), _SAMPLE)
    history = known.history[users]

    def asked(some: slice) -> tuple[Floats, Floats, Doubles, Doubles]:
        scores = history[some] @ known.teacher
        logits = inherited_logits(scores, lent, inherited.reference_weight)
        powers = np.exp(logits, dtype=np.float64)
        total = powers.sum(axis=1)
        shares = (powers / total[:, np.newaxis]).sum(axis=0)
        return scores, leanings(scores).sum(axis=0), total, shares

    parts = on_all_processors(asked, _few_at_once(len(users), len(rows)))
    scores = np.concatenate([np.zeros((0, anchors), np.float32), *(part[0] for part in parts)])
    background = sum((part[1] for part in parts), start=np.zeros(anchors, np.float32))
    total = np.concatenate([np.zeros(0), *(part[2] for part in parts)])
    shares = sum((part[3] for part in parts), start=np.zeros(len(rows)))
    expected = np.zeros(items, np.float32)
    if len(others):
        expected[rows] = expected_share(shares / max(len(users), 1), len(rows))
    evidence = Evidence(
        of=np.full(items, PAD, np.int32),
        row=np.zeros(0, np.int32),
        count=np.zeros((0, 4), np.float32),
        time=np.zeros((0, 2), np.int64),
        lift=np.zeros((0, width), np.float32),
        attention=np.zeros((0, width), np.float32),
        weight=np.zeros((0, 2), np.float32),
        text=np.zeros((0, embedding_size), np.float32),
        expected_share=expected,
        cold_attention=(reference / max(len(rows), 1)).astype(np.float32),
        background=background / np.float32(max(len(users), 1)),
        clock_time=clock.time,
        clock_share=clock.share,
    )
    return evidence, Choices(history, scores, total, len(rows))


def _few_at_once(users: int, items: int) -> list[slice]:
    few = max(min(_USERS_AT_ONCE, _PAIRS_AT_ONCE // max(items, 1)), 1)
    return [slice(at, at + few) for at in range(0, users, few)]


def lent_matrix(index: npt.NDArray[np.int32], weight: Floats, anchors: int) -> sp.csr_matrix:
    """Lists of anchors [T, K] as a matrix [T, A]."""
    place = np.repeat(np.arange(len(index)), index.shape[1])
    return sp.csr_matrix((weight.ravel(), (place, index.ravel())), (len(index), anchors))


def inherited_logits(scores: Floats, lent: sp.csr_matrix, reference: Floats) -> Floats:
    """Of users' anchor scores [U, A] over items that inherit: float32 [U, T]."""
    return user_logits((lent @ scores.T).T, scores @ reference)


def attention(weight: Floats) -> Floats:
    """Weights of an item's anchors [T, K], negative ones left out, with sum 1.

    A negative weight takes an anchor's score away where others count it twice: it corrects a sum,
    and says nothing of whom the item is for.
    """
    positive = np.maximum(weight, 0.0)
    normal: Floats = positive / (positive.sum(axis=1, keepdims=True) + np.float32(TINY))
    return normal


def leanings(scores: Floats) -> Floats:
    """Share of each anchor in the positive scores of a user: [U, A] to float32 [U, A]."""
    positive = np.maximum(scores, 0.0)
    share: Floats = positive / (positive.sum(axis=1, keepdims=True) + np.float32(TINY))
    return share


def lift(lean: Floats, background: Floats) -> Floats:
    """How much more than everybody a user leans to an anchor, as a floored logarithm."""
    floored: Floats = np.log((lean / (background + TINY) + LIFT_FLOOR) / (1 + LIFT_FLOOR))
    return floored


def posterior(prior: Floats, lifts: Floats, known: npt.NDArray[np.int64]) -> Floats:
    """Attention after the supporters were heard: A' ∝ A · Π_s lift_s^(1/√k).

    Supporters are no independent witnesses; the root makes k of them count as √k.

    Args:
        prior: float32 [T, K].
        lifts: float32 [T, K], sums of `lift` over the known supporters.
        known: int [T], how many these are.
    """
    evidence = lifts / np.sqrt(np.maximum(known, 1))[:, np.newaxis]
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return attention((prior * likelihood).astype(np.float32))


def features(
    *,
    count: npt.NDArray[np.int64],
    first: Doubles,
    last: Doubles,
    expected: Doubles,
    habit: Doubles,
    rating: Doubles,
) -> Doubles:
    """What tells the demand of T items: float64 [T, F].

    Args:
        count: k, interactions seen.
        first: the shop's clock at the first of them.
        last: the shop's clock at the last of them.
        expected: log of the share of choices that the text promised, 0 on average.
        habit: mean of log(1 + purchases) over the known supporters.
        rating: mean, in [0, 1].
    """
    pace = np.log(np.maximum(count - 1, 1)) - np.log(CLOCK_SCALE * (last - first) + 1)
    left = np.maximum(1 - last, 0.0)
    return np.stack(
        [np.where(count > 1, pace, 0.0), left, np.log(left + LEFT_FLOOR), expected, habit, rating],
        axis=1,
    )


def log_ratio(new: Floats, old: Floats, reference: Floats) -> Floats:
    """How much more of a user's scores the new attention gives an item: [U, T].

    Args:
        new: scores under the new attention, [U, T].
        old: scores under the text's attention, [U, T].
        reference: mean of the latter over cold items, [U].
    """
    floor = RATIO_FLOOR * reference[:, np.newaxis] + TINY
    ratio: Floats = np.log((new + floor) / (old + floor)).astype(np.float32)
    return ratio


def expected_share(shares: Doubles, items: int) -> Floats:
    """Log of mean shares [T] of users' choices among `items`, less that of an even share."""
    expected: Floats = np.log(shares * items + TINY).astype(np.float32)
    return expected


def softmax(logits: Floats) -> Floats:
    """Shares of each user's choice: [U, T]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
