"""How far a distribution has moved: the population stability index."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

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
    middle = (np.cumsum(before) - before / 2) / before.sum()
    group = np.minimum((middle * _GROUPS).astype(int), _GROUPS - 1)
    used = np.unique(group)
    e, a = (
        np.bincount(group, counts, _GROUPS)[used] + 0.5 for counts in (before, now)
    )  # fmt: skip
    e, a = e / e.sum(), a / a.sum()
    return float(np.sum((a - e) * np.log(a / e)))
