"""Inverse propensity weights of items."""

import numpy as np
import pytest

from models.debiasing.weights import inverse_propensity


def test_an_interaction_counts_inversely_to_a_power_of_the_item_s_popularity():
    count = np.array([1, 4, 100, 0])
    weight = inverse_propensity(count, exponent=0.5, clip=1e9)
    assert weight[0] / weight[1] == pytest.approx(2)
    assert weight[0] / weight[2] == pytest.approx(10)
    assert weight[3] == weight[0]
    assert np.average(weight, weights=count) == pytest.approx(1)


def test_no_weight_exceeds_the_clip_and_no_exponent_changes_nothing():
    count = np.array([1, 10_000])
    assert inverse_propensity(count, exponent=1.0, clip=5).max() == 5
    assert inverse_propensity(count, exponent=0.0, clip=5).tolist() == [1, 1]
