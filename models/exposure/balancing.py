"""Evens out how often new items are shown, at a bounded price in relevance.

Lists by score alone show a few new items to everybody. A constant for each item, added to its
logit, takes places from these and gives them to others where a user's scores hardly differ. The
constants are found from the scores of known users; what they will buy is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats
from models.exploration.off_policy import mean_of
from models.exposure.measures import coverage, exposures, gini
from models.inheritance.aligned_launch import AlignedLaunch
from models.ranking import PLACES, ranking_quality
from models.record import MeasuredPoint
from models.sampling import at_most
from models.towers import user_logits

# In logits. The first one changes nothing.
STRENGTHS: Final = (0.0, 0.05, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.4, 0.6, 0.8)
_ROUNDS: Final = 40
# Users that constants are found from. Those who tell what they cost are more: the more, the surer.
_USERS: Final = 2048
_MEASURED: Final = 16384
_SCORES: Final = 1 << 24
_FEWEST: Final = 2  # users, for a standard error
# Of T items a list by chance holds `PLACES` / T. Where that is more than half of them, most of the
# recall can't be lost whatever is done, and a small loss says nothing of a whole catalogue.
FEWEST_ITEMS: Final = 2 * PLACES


class Traded(NamedTuple):
    """What lists of `PLACES` new items come to at one strength.

    Attributes:
        strength: in logits.
        recall: at `PLACES`, mean over the users who want something.
        least: what is kept at least of the recall at the first strength, in 95 of 100 cases.
        ndcg: likewise.
        gini: of the items' exposure in the lists of these users.
        coverage: share of the items that are in one of them.
    """

    strength: float
    recall: float
    least: float
    ndcg: float
    gini: float
    coverage: float

    def point(self) -> MeasuredPoint:
        """For the report, at the strength in hundredths of a logit."""
        values = {
            "recall": self.recall, "recall_at_least": self.least, "gini": self.gini,
            "coverage": self.coverage,
        }  # fmt: skip
        return MeasuredPoint(at=round(100 * self.strength), values=values)


def balanced(logits: Floats, strength: float, places: int = PLACES) -> Floats:
    """What is added to the logits of T items so that their exposure is more even.

    The lists of U users are those that maximise the sum of their logits less a price that rises
    with the square of an item's exposure. In the optimum an item pays `strength` for each time that
    it is shown more than on average, in relation to that: b_i = -strength (e_i / mean(e) - 1),
    where the exposure e depends on b. Found by damped iteration. An item that nobody is shown gains
    `strength`, and no item more.

    Args:
        logits: float32 [U, T].
        strength: in logits, ≥ 0.
        places: of a list.

    Returns:
        float32 [T].
    """
    count = logits.shape[1]
    offset = np.zeros(count, np.float32)
    if not strength or count <= places or not len(logits):
        return offset
    mean = len(logits) * places / count
    for turn in range(1, _ROUNDS + 1):
        shown = exposures(_best(logits + offset, places), count)
        offset += (-strength * (shown / mean - 1.0) - offset).astype(np.float32) / (1 + turn)
    return offset


def evened_out(
    history: sp.csr_matrix, teacher: Floats, weights: Floats | sp.csr_matrix, reference: Floats,
    strength: float,
) -> Floats:  # fmt: skip
    """`balanced`, from what known users bought.

    Args:
        history: users x anchors of 0 and 1.
        teacher: float32 [A, A].
        weights: float32 [A, T], of the anchors for the items.
        reference: float32 [A], mean weights that a score is relative to.
        strength: in logits.

    Returns:
        float32 [T].
    """
    if not strength:
        return np.zeros(weights.shape[1], np.float32)
    users = _drawn(np.flatnonzero(history.getnnz(axis=1)), weights.shape[1], _USERS)
    return balanced(_logits(history[users] @ teacher, weights, reference), strength)


def traded(launched: AlignedLaunch, strengths: Sequence[float] = STRENGTHS) -> list[Traded]:
    """Relevance against even exposure on a simulated launch, at each strength.

    Constants are found from all users' scores, and measured on those who want something. What one
    strength costs each of them in relation to the first has a mean and a standard error.

    Returns:
        Nothing where fewer than two users do, or the launch has fewer than `FEWEST_ITEMS` targets.
    """
    launch, weights = launched.launch, launched.weights
    if len(launch.users) < _FEWEST or len(launch.targets) < FEWEST_ITEMS:
        return []
    reference = launched.reference
    users = _drawn(launch.users, weights.shape[1], _MEASURED)
    logits = _logits(launch.history[users] @ launch.teacher, weights, reference)
    wanted = launch.wanted[users].toarray()
    points: list[Traded] = []
    before: Doubles | None = None
    for strength in strengths:
        offset = evened_out(launch.history, launch.teacher, weights, reference, strength)
        recall, ndcg = ranking_quality(logits + offset, wanted, PLACES)
        before = recall if before is None else before
        shown = exposures(_best(logits + offset, PLACES), len(offset))
        points.append(
            Traded(
                strength=strength,
                recall=float(recall.mean()),
                least=float(before.mean()) + mean_of(recall - before).low,
                ndcg=float(ndcg.mean()),
                gini=gini(shown, len(shown)),
                coverage=coverage(shown, len(shown)),
            )
        )
    return points


def strongest(points: Sequence[Traded], max_loss: float) -> float:
    """The strength before the first at which more than that share of the recall may be lost.

    The loss is taken at its upper bound, which holds in 95 of 100 cases by the normal
    approximation, as these users stand for others. Strengths are asked in a fixed order up to the
    first that is refused, so the bound holds for the one that is chosen as well (Maurer, Hothorn &
    Lehmacher 1995). Where none may be lost, or there are no points to tell, exposure is left as it
    is.
    """
    kept = 0.0
    if not max_loss:
        return kept
    for point in points:
        if point.least < (1.0 - max_loss) * points[0].recall:
            break
        kept = point.strength
    return kept


def _logits(scores: Floats, weights: Floats | sp.csr_matrix, reference: Floats) -> Floats:
    return user_logits(np.asarray(scores @ weights), scores @ reference)


def _best(logits: Floats, places: int) -> npt.NDArray[np.int64]:
    places = min(places, logits.shape[1])
    best: npt.NDArray[np.int64] = np.argpartition(-logits, places - 1, axis=1)[:, :places]
    return best


def _drawn(users: npt.NDArray[np.int64], items: int, most: int) -> npt.NDArray[np.int64]:
    """Some of the users, so many that their scores fit into memory."""
    most = int(np.clip(_SCORES // max(items, 1), 64, most))
    return at_most(users, most)
