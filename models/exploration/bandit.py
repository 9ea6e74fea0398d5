"""What lists have shown of new items: a Bayesian linear model on the shared space.

The model in service promises each new item a share of a user's choices among new items. The bandit
asks how far that promise is off: the expected reward of an item is `c · promise · (1 + θ·e)`, e
being its embedding and c how many rewards a promise of 1 has brought over all. θ has a normal
prior; rewards are counts, so their variance grows with what was promised, and observations are
weighted accordingly (Zhou, Gu & Szepesvári 2021). LinUCB adds a multiple of the posterior's
standard deviation to the mean (Li, Chu, Langford & Schapire 2010), Thompson sampling draws from the
posterior (Agrawal & Goyal 2013). With a prior of its own for each direction, both speak of items
that were never shown by what is like them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from models.arrays import Doubles, Floats
from models.options import Policy

DRAWS: Final = 32
# Before anything was shown: rewards a promise of 1 brings, and how many rewards that is worth.
_PRIOR_RATE: Final = 5.0
_PRIOR_REWARDS: Final = 5.0
_FLOOR: Final = 0.05  # of a factor, whose logarithm is taken


class Feedback(NamedTuple):
    """What came of T places with new items.

    Attributes:
        item: int64 [T], places among the N new items.
        promise: float64 [T], share of the user's choices among the new items.
        reward: float64 [T], 1 where the item was bought, else 0.
    """

    item: npt.NDArray[np.int64]
    promise: Doubles
    reward: Doubles

    def where(self, chosen: npt.NDArray[np.bool_]) -> Feedback:
        """Some of the places."""
        return Feedback(self.item[chosen], self.promise[chosen], self.reward[chosen])


@dataclass(frozen=True)
class Posterior:
    """Of the factors of N new items, by which the promise is multiplied.

    Attributes:
        rate: rewards that a promise of 1 brings.
        mean: float64 [N].
        half: float64 [D, N]; its Gram matrix is the covariance of the factors.
    """

    rate: float
    mean: Doubles
    half: Doubles

    @property
    def deviation(self) -> Doubles:
        """Standard deviations of the factors: float64 [N]."""
        deviation: Doubles = np.sqrt(np.square(self.half).sum(axis=0))
        return deviation

    def learned(self) -> Floats:
        """Logit that the mean adds to an item's score: float32 [N]."""
        return _logits(self.mean)

    def draws(self, policy: Policy, *, optimism: float, random: np.random.Generator) -> Floats:
        """Logits that draws add to that: float32 [N, M], M being 1 for LinUCB."""
        if policy == "linucb":
            factor = (self.mean + optimism * self.deviation)[:, np.newaxis]
        else:
            noise = random.normal(size=(len(self.half), DRAWS))
            factor = self.mean[:, np.newaxis] + optimism * (self.half.T @ noise)
        return _logits(factor, floor=_FLOOR**2) - self.learned()[:, np.newaxis]


def learn(embedding: Floats, feedback: Feedback, *, deviation: float) -> Posterior:
    """The posterior after all feedback; its order doesn't matter.

    Args:
        embedding: float32 [N, D], of the new items, of unit length.
        feedback: of these.
        deviation: by how many times an item's promise may be off, one standard deviation.
    """
    items = len(embedding)
    promised = np.bincount(feedback.item, feedback.promise, items)
    rewards = np.bincount(feedback.item, feedback.reward, items)
    rate = (rewards.sum() + _PRIOR_REWARDS) / (promised.sum() + _PRIOR_REWARDS / _PRIOR_RATE)
    expected = rate * promised
    features = embedding.astype(np.float64) * deviation
    precision = np.eye(features.shape[1]) + features.T @ (expected[:, np.newaxis] * features)
    factor = scipy.linalg.cholesky(precision, lower=True)
    solved = scipy.linalg.cho_solve((factor, True), features.T @ (rewards - expected))
    half = scipy.linalg.solve_triangular(factor, features.T, lower=True)
    return Posterior(float(rate), 1.0 + features @ solved, half)


def _logits(factor: Doubles, floor: float = _FLOOR) -> Floats:
    logits: Floats = np.log(np.maximum(factor, floor)).astype(np.float32)
    return logits
