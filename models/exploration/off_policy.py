"""What another policy would have earned, estimated from what one policy showed.

A policy is judged by places that another one filled by chance, whose propensities were logged, as
in the Open Bandit Dataset (Saito et al. 2021). Each estimator gives a contribution for every place,
whose mean is the estimate. What a user sees and does is of a piece, so the standard error follows
from the spread of the users' sums (Liang & Zeger 1986).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Doubles

Z: Final = 1.645
"""Of a one-sided bound that holds in 95 of 100 cases, by the normal approximation."""


class Logged(NamedTuple):
    """T places that the logging policy filled, each as if alone; all but `user` are float64 [T].

    Attributes:
        user: int64 [T], a number for whoever saw the place.
        reward: what came of the place.
        propensity: chance with which the logging policy put the item there, above 0.
        target: chance with which the judged policy would have.
        predicted: reward that a model expects of that item.
        expected: reward that the model expects of the judged policy at that place.
    """

    user: npt.NDArray[np.int64]
    reward: Doubles
    propensity: Doubles
    target: Doubles
    predicted: Doubles
    expected: Doubles

    @property
    def weight(self) -> Doubles:
        """How much likelier the judged policy was to show the item."""
        return self.target / self.propensity


class Estimate(NamedTuple):
    """A mean with its standard error."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """What the true value exceeds in 95 of 100 cases, about."""
        return self.value - Z * self.error


def truncated(logged: Logged) -> Logged:
    """The same with weights of at most √T (Ionides 2008), by propensities that are high enough.

    One place that was hardly ever to be shown can't decide alone then. The bias is gone with many
    places; where it is not, the doubly robust estimate falls back on its model.
    """
    least = logged.target / np.sqrt(len(logged.target))
    return logged._replace(propensity=np.maximum(logged.propensity, least))


def on_policy(logged: Logged) -> Estimate:
    """What the logging policy earned."""
    return _mean(logged.reward, logged.user)


def replay(logged: Logged) -> Estimate:
    """Mean reward where both policies agree (Li, Chu, Langford & Wang 2011).

    It is unbiased where the logging policy showed all items with equal chance.
    """
    return _ratio(logged.target, logged)


def ips(logged: Logged) -> Estimate:
    """Inverse propensity score (Horvitz & Thompson 1952).

    Unbiased where the logging policy may show whatever the judged one would.
    """
    return _mean(logged.weight * logged.reward, logged.user)


def snips(logged: Logged) -> Estimate:
    """Self-normalised IPS: a little bias, less variance (Swaminathan & Joachims 2015)."""
    return _ratio(logged.weight, logged)


def doubly_robust(logged: Logged) -> Estimate:
    """Unbiased if the propensities or the model are right (Dudík, Langford & Li 2011)."""
    return _mean(_doubly_robust(logged), logged.user)


def gain(logged: Logged) -> Estimate:
    """Doubly robust estimate of what the judged policy earns more than the logging one.

    Place by place, so that what both would show alike does not add to the error.
    """
    return _mean(_doubly_robust(logged) - logged.reward, logged.user)


def mean_of(contributions: Doubles) -> Estimate:
    """Of two contributions or more that don't depend on each other."""
    error = np.std(contributions, ddof=1) / np.sqrt(len(contributions))
    return Estimate(float(np.mean(contributions)), float(error))


def _doubly_robust(logged: Logged) -> Doubles:
    return logged.expected + logged.weight * (logged.reward - logged.predicted)


def _mean(contributions: Doubles, user: npt.NDArray[np.int64]) -> Estimate:
    """Of contributions of two users or more, of whom each may have several."""
    value = float(np.mean(contributions))
    _, of_user = np.unique(user, return_inverse=True)
    sums = np.bincount(of_user, contributions - value).astype(np.float64)
    return Estimate(value, mean_of(sums).error * len(sums) / len(contributions))


def _ratio(weight: Doubles, logged: Logged) -> Estimate:
    """Weighted mean of the rewards, its error by the delta method; NaN where all weights are 0."""
    total = weight.sum()
    if total == 0:
        return Estimate(np.nan, np.nan)
    value = float((weight * logged.reward).sum() / total)
    residual = weight * (logged.reward - value) / (total / len(weight))
    return Estimate(value, _mean(residual, logged.user).error)
