"""Confidence intervals over users: against the normal approximation, and of paired differences."""

import numpy as np
import pytest

from benchmarks.intervals import interval

VALUES = np.random.default_rng(0).random(400)
ONES = np.ones(400)


def test_an_interval_of_a_mean_is_close_to_the_normal_one():
    found = interval([(VALUES, ONES)])
    half = 1.96 * VALUES.std() / np.sqrt(len(VALUES))
    assert found.mean == pytest.approx(VALUES.mean())
    assert found.low == pytest.approx(VALUES.mean() - half, rel=0.02)
    assert found.high == pytest.approx(VALUES.mean() + half, rel=0.02)
    assert found.shown(3, sign="+") == f"+{VALUES.mean():.3f} ± {half:.3f}"


def test_the_same_users_are_drawn_for_both_sides_of_a_ratio():
    """Sums and counts of a user stay together: equal ratios have no spread."""
    count = np.random.default_rng(1).integers(1, 30, 400).astype(float)
    found = interval([(0.25 * count, count)])
    assert (found.low, found.mean, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_more_splits_are_averaged_and_narrow_the_interval():
    one = interval([(VALUES, ONES)])
    other = np.random.default_rng(2).random(300)
    both = interval([(VALUES, ONES), (other, np.ones(300))])
    assert both.mean == pytest.approx((VALUES.mean() + other.mean()) / 2)
    assert both.high - both.low < one.high - one.low
    assert interval([(VALUES, ONES)]) == one  # drawn alike each time
