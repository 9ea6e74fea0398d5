"""What gradient descent draws from: all of the newest span, and a bounded sample of older ones."""

import numpy as np
import pytest

from models.replay import replayed

SPAN = np.array([1, 3, 2, 1, 3, 1, 2, 1, 1, 2], np.int32)
NEWEST = {1, 4}
OLDER = set(range(len(SPAN))) - NEWEST


@pytest.mark.parametrize("count", [0, 1, 5, 7])
def test_the_newest_span_is_whole_and_the_rest_is_bounded(count):
    rows = replayed(SPAN, latest=3, count=count, seed=1)
    assert sorted(set(rows)) == rows.tolist()
    assert set(rows) >= NEWEST
    assert len(set(rows) & OLDER) == count


@pytest.mark.parametrize("count", [None, 8, 100])
def test_all_is_taken_where_the_bound_allows_it(count):
    assert replayed(SPAN, latest=3, count=count, seed=1).tolist() == list(range(len(SPAN)))


def test_without_spans_everything_is_new():
    none = np.zeros(6, np.int32)
    assert replayed(none, latest=0, count=2, seed=1).tolist() == list(range(6))


def test_the_sample_is_the_same_for_a_seed_and_uniform_over_seeds():
    draws = [replayed(SPAN, latest=3, count=4, seed=seed) for seed in range(600)]
    again = replayed(SPAN, latest=3, count=4, seed=5)
    assert again.tolist() == draws[5].tolist()
    often = np.bincount(np.concatenate(draws), minlength=len(SPAN))[sorted(OLDER)] / len(draws)
    # Half of the eight; three standard deviations of a share of 600.
    assert np.abs(often - 0.5).max() < 3 * np.sqrt(0.25 / 600)
