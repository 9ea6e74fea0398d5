"""95 % confidence intervals of means over users, by the bootstrap.

Users are what is drawn with replacement: interactions of one user depend on one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.stats import bootstrap

from models.arrays import Doubles

_RESAMPLES: Final = 2000
_BATCH: Final = 100
_SEED: Final = 7


class Interval(NamedTuple):
    """A mean and the percentile interval around it."""

    mean: float
    low: float
    high: float

    def shown(self, digits: int, *, sign: str = "") -> str:
        """Mean and half the width; `sign` is "+" to show that of a difference."""
        return f"{self.mean:{sign}.{digits}f} ± {(self.high - self.low) / 2:.{digits}f}"


def interval(splits: Sequence[tuple[Doubles, Doubles]]) -> Interval:
    """Of the ratio of two sums over users, averaged over splits.

    Args:
        splits: for each, a sum for each of its users, and by what that is divided, float64 [B]:
            ones for a mean over users, numbers of ratings for a mean over ratings.
    """
    means = [total.sum() / count.sum() for total, count in splits]
    drawn = np.mean([_resampled(total, count) for total, count in splits], axis=0)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(float(np.mean(means)), float(low), float(high))


def _resampled(total: Doubles, count: Doubles) -> Doubles:
    """The ratio in each resample: float64 [R]."""

    def ratio(total: Doubles, count: Doubles, axis: int) -> Doubles:
        found: Doubles = total.sum(axis=axis) / count.sum(axis=axis)
        return found

    drawn: Doubles = bootstrap(
        (total, count), ratio, paired=True, vectorized=True, n_resamples=_RESAMPLES, batch=_BATCH,
        method="percentile", random_state=_SEED,
    ).bootstrap_distribution  # fmt: skip
    return drawn
