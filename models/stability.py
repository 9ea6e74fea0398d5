"""How far a distribution has moved: the population stability index."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from models.arrays import Doubles

NOTICE: Final = 0.1
ALERT: Final = 0.25
"""Siddiqi's rule of thumb: below 0.1 nothing has changed, from 0.25 on much has."""

_GROUPS: Final = 10


def stability_index(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """The population stability index (Siddiqi, Credit Risk Scorecards, 2006).

    sum over groups of (a - e) * ln(a / e), with the shares e of the expected and a of the actual
    counts. It is the symmetric divergence of Jeffreys (1946). The groups are the tenths of the
    expected distribution, as far as the bins tell them apart. Half an observation is added to each
    group, so that an empty one counts as rare and not as impossible.

    Args:
        expected: counts by bin, of the distribution that is compared with.
        actual: counts by the same bins.

    Returns:
        0 for the same distribution, NaN where either is empty.
    """
    before, now = np.asarray(expected, float), np.asarray(actual, float)
    if not before.sum() or not now.sum():
        return float("nan")
    e, a = _grouped(before, now) + 0.5
    e, a = e / e.sum(), a / a.sum()
    return float(np.sum((a - e) * np.log(a / e)))


def chance_index(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """The index that two samples of one distribution exceed in 5 of 100 cases.

    For samples of n and m it tends to (1/n + 1/m) times a chi-squared with a degree of freedom less
    than there are groups (Yurdakul & Naranjo, Statistical properties of the population stability
    index, 2020).

    Args:
        expected: as of `stability_index`, not empty.
        actual: likewise.
    """
    before, now = np.asarray(expected, float), np.asarray(actual, float)
    groups = _grouped(before, now).shape[1]
    return float(chi2.ppf(0.95, groups - 1) * (1 / before.sum() + 1 / now.sum()))


def _grouped(before: Doubles, now: Doubles) -> Doubles:
    """Counts float64 [N] each by the groups: float64 [2, G]."""
    middle = (np.cumsum(before) - before / 2) / before.sum()
    group = np.minimum((middle * _GROUPS).astype(int), _GROUPS - 1)
    used = np.unique(group)
    return np.stack([np.bincount(group, counts, _GROUPS)[used] for counts in (before, now)])
