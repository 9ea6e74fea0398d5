"""The population stability index, against sums by hand."""

import math

import numpy as np
import pytest

from models.stability import ALERT, NOTICE, chance_index, stability_index


def test_it_is_the_sum_over_the_tenths_of_what_was_expected():
    expected, actual = [100.0] * 10, [190.0, 10.0] + [100.0] * 8
    shares = [(100.5, 190.5), (100.5, 10.5)]
    total = 1000 + 10 * 0.5
    by_hand = sum((a - e) / total * math.log(a / e) for e, a in shares)
    assert stability_index(expected, actual) == pytest.approx(by_hand)


def test_the_same_distribution_has_none_whatever_its_size():
    counts = np.random.default_rng(0).integers(0, 50, 100).astype(float)
    assert stability_index(counts, counts) == 0
    assert stability_index(counts, counts * 100) == pytest.approx(0, abs=0.01)


def test_samples_of_one_distribution_stay_below_notice_and_a_shift_passes_alert():
    random = np.random.default_rng(1)

    def counts(mean):
        return np.histogram(random.normal(mean, 0.1, 2000).clip(0, 1), 100, (0, 1))[0]

    assert stability_index(counts(0.5), counts(0.5)) < NOTICE
    assert stability_index(counts(0.5), counts(0.6)) > ALERT


def test_two_samples_of_one_distribution_exceed_chance_in_five_of_a_hundred_cases():
    random = np.random.default_rng(2)
    shares = random.dirichlet(np.full(30, 5.0))
    pairs = [(random.multinomial(300, shares), random.multinomial(500, shares)) for _ in range(500)]
    exceeded = np.mean([stability_index(*pair) > chance_index(*pair) for pair in pairs])
    assert 0.02 < exceeded < 0.09


def test_groups_hold_a_tenth_of_what_was_expected_each():
    """All mass in two of a hundred bins: moving it between them shows, elsewhere too."""
    expected = np.zeros(100)
    expected[[20, 21]] = 500
    moved, away = np.zeros(100), np.zeros(100)
    moved[[20, 21]] = 900, 100
    away[90] = 1000
    assert stability_index(expected, moved) > ALERT
    assert stability_index(expected, away) > stability_index(expected, moved)


def test_nothing_to_compare_is_not_a_number():
    assert math.isnan(stability_index([0, 0], [1, 2]))
    assert math.isnan(stability_index([1, 2], [0, 0]))
