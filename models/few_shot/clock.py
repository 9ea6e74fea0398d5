"""A shop's own clock: the share of its interactions that have happened by a moment.

Seasons, nights and growth make a day on the calendar mean little; a hundred interactions of the
shop mean the same at any time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Doubles, Floats

_KNOTS: Final = 4096
_LATEST: Final = 0.1  # of the shop's interactions, whose rate holds for what comes after them
_ODD: Final = 0.01  # of them, which may not take longer than all the others before them


class ShopClock(NamedTuple):
    """A piecewise linear function of time, C knots.

    Attributes:
        time: int64 [C], unix seconds, rising.
        share: float32 [C], of all interactions, rising from above 0 to below 1.
    """

    time: npt.NDArray[np.int64]
    share: Floats

    @classmethod
    def of(cls, timestamps: npt.NDArray[np.int64]) -> ShopClock:
        """Read the clock off the shop's interactions, at least one, in any order.

        Interactions of the same second stand in the middle of their block: many shops only note
        the day. A last hundredth that lies far behind the others is left out: a year mistyped as
        2099 would make the clock stand still from now until then.
        """
        time, count = np.unique(_without_stragglers(timestamps), return_counts=True)
        share = (np.cumsum(count) - count / 2) / count.sum()
        if len(time) > _KNOTS:
            kept = np.unique(np.linspace(0, len(time) - 1, _KNOTS).astype(np.int64))
            time, share = time[kept], share[kept]
        return cls(time.astype(np.int64), share.astype(np.float32))

    def at(self, timestamps: npt.NDArray[np.int64]) -> Doubles:
        """What the clock shows: float64, above 1 where the shop goes on after its data."""
        share = self.share.astype(np.float64)
        # At least from the last moment but one, whatever share of the data is of the last one.
        tail = max(min(int(np.searchsorted(share, 1 - _LATEST)), len(share) - 2), 0)
        rate = (share[-1] - share[tail]) / max(int(self.time[-1] - self.time[tail]), 1)
        later = np.maximum(timestamps - self.time[-1], 0)
        shown: Doubles = np.interp(timestamps, self.time, share) + rate * later
        return shown


def _without_stragglers(timestamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Without those that come later after most of them than these took: int64 [N] to [M]."""
    first, last = np.quantile(timestamps, (_ODD, 1 - _ODD), method="lower")
    if first == last:
        return timestamps
    kept: npt.NDArray[np.int64] = timestamps[timestamps <= last + (last - first)]
    return kept


def clock_at(time: tf.Tensor, share: tf.Tensor, timestamps: tf.Tensor) -> tf.Tensor:
    """`ShopClock.at` in the graph.

    Args:
        time: int64 [C].
        share: float32 [C].
        timestamps: int64 [N].

    Returns:
        float64 [N].
    """
    share = tf.cast(share, tf.float64)
    last = tf.size(time) - 1
    upper = tf.searchsorted(time, timestamps, side="right")
    lower = tf.maximum(upper - 1, 0)
    upper = tf.minimum(upper, last)
    begin, end = tf.gather(time, lower), tf.gather(time, upper)
    passed = _ratio(timestamps - begin, end - begin) * tf.cast(end > begin, tf.float64)
    within = tf.gather(share, lower)
    within += passed * (tf.gather(share, upper) - within)
    tail = tf.searchsorted(share, tf.constant([1 - _LATEST], tf.float64))[0]
    tail = tf.maximum(tf.minimum(tail, last - 1), 0)
    rate = (share[-1] - share[tail]) / tf.cast(tf.maximum(time[-1] - time[tail], 1), tf.float64)
    later = tf.cast(tf.maximum(timestamps - time[-1], 0), tf.float64)
    return within + rate * later


def _ratio(part: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    return tf.cast(part, tf.float64) / tf.cast(tf.maximum(whole, 1), tf.float64)
