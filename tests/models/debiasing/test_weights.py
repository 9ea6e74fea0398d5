"""Inverse propensity weights of interactions."""

import numpy as np
import pytest

from models.debiasing.weights import inverse_propensity, of_pairs

NONE = np.float32(np.nan)


def unlogged(item):
    return np.full(len(item), NONE)


def test_an_interaction_counts_inversely_to_a_power_of_the_item_s_popularity():
    item = np.repeat([0, 1, 2], [1, 4, 100])
    weight = inverse_propensity(item, unlogged(item), exponent=0.5, clip=1e9)
    assert weight[0] / weight[1] == pytest.approx(2)
    assert weight[0] / weight[-1] == pytest.approx(10)
    assert weight.mean() == pytest.approx(1)


def test_no_weight_exceeds_the_clip_and_no_exponent_changes_nothing():
    item = np.repeat([0, 1], [1, 10_000])
    assert inverse_propensity(item, unlogged(item), exponent=1.0, clip=5).max() == 5
    logged = np.where(item, NONE, np.float32(1e-3))
    for propensity in (unlogged(item), logged):
        assert (inverse_propensity(item, propensity, exponent=0.0, clip=5) == 1).all()


def test_a_logged_propensity_counts_instead_of_the_popularity():
    item = np.repeat([0, 1, 2], [2, 8, 2])
    logged = np.concatenate([[NONE] * 10, [0.25, 1.0]]).astype(np.float32)
    weight = inverse_propensity(item, logged, exponent=1.0, clip=1e9)
    # 1 over 2 and 1 over 8 among themselves, and 4 and 1 among themselves.
    by_popularity = np.repeat([1 / 2, 1 / 8], [2, 8])
    np.testing.assert_allclose(weight[:10], by_popularity / by_popularity.mean(), rtol=1e-6)
    np.testing.assert_allclose(weight[10:], [4 / 2.5, 1 / 2.5], rtol=1e-6)


def test_a_rare_propensity_takes_no_more_than_the_clip_allows_and_leaves_the_others_theirs():
    logged = np.append(np.ones(99), 1e-30).astype(np.float32)
    weight = inverse_propensity(np.zeros(100, int), logged, exponent=1.0, clip=10.0)
    np.testing.assert_allclose(weight[-1] / weight[:-1], 10.0, rtol=1e-6)
    assert weight.mean() == pytest.approx(1)


def test_weighted_ratings_of_what_a_policy_showed_are_those_of_showing_everything_alike():
    """A policy shows mostly what is liked, so that the plain mean flatters the shop."""
    random = np.random.default_rng(4)
    rating, chance = np.array([0.9, 0.5, 0.1]), np.array([0.7, 0.2, 0.1])
    item = random.choice(3, 20_000, p=chance)
    weight = inverse_propensity(item, chance[item].astype(np.float32), exponent=1.0, clip=50.0)
    assert rating[item].mean() > 0.7
    assert np.average(rating[item], weights=weight) == pytest.approx(0.5, abs=0.02)


def test_a_pair_has_the_mean_weight_of_its_interactions():
    user, item = np.array([0, 1, 0, 0]), np.array([2, 0, 2, 1])
    weight = np.array([1.0, 5.0, 3.0, 7.0], np.float32)
    pairs = of_pairs(user, item, weight, (2, 3)).toarray()
    np.testing.assert_array_equal(pairs, [[0, 7, 2], [5, 0, 0]])
