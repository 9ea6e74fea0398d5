"""What feedback teaches of new items, against the formulas written out."""

import numpy as np
import pytest

from models.exploration.bandit import DRAWS, Feedback, learn

N, D, DEVIATION = 7, 4, 1.5
RANDOM = np.random.default_rng(4)
_DIRECTIONS = RANDOM.normal(size=(N, D))
_LENGTHS = np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)
EMBEDDING = (_DIRECTIONS / _LENGTHS).astype(np.float32)
PLACES = 300
ITEM = RANDOM.integers(N - 2, size=PLACES)  # the last two are never shown
PROMISE = RANDOM.uniform(0, 0.1, PLACES)
REWARD = (RANDOM.random(PLACES) < 4 * PROMISE * (1 + (ITEM == 2))).astype(float)
FEEDBACK = Feedback(ITEM, PROMISE, REWARD)


@pytest.fixture(scope="module")
def posterior():
    return learn(EMBEDDING, FEEDBACK, deviation=DEVIATION)


def test_the_mean_is_that_of_a_weighted_ridge_regression_on_the_embeddings(posterior):
    """One row a place: reward against rate x promise x (1 + e theta), variance rate x promise."""
    rate = (REWARD.sum() + 5) / (PROMISE.sum() + 1)
    assert posterior.rate == pytest.approx(rate)
    expected = rate * PROMISE
    rows = EMBEDDING[ITEM] * np.sqrt(expected)[:, np.newaxis]
    values = (REWARD - expected) / np.sqrt(expected)
    rows = np.concatenate([rows, np.eye(D) / DEVIATION])
    theta, *_ = np.linalg.lstsq(rows, np.concatenate([values, np.zeros(D)]), rcond=None)
    np.testing.assert_allclose(posterior.mean, 1 + EMBEDDING @ theta, rtol=1e-6)
    covariance = EMBEDDING @ np.linalg.inv(rows.T @ rows) @ EMBEDDING.T
    np.testing.assert_allclose(posterior.deviation, np.sqrt(np.diag(covariance)), rtol=1e-5)


def test_without_feedback_the_promise_stands_and_nothing_is_sure():
    nothing = Feedback(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    blank = learn(EMBEDDING, nothing, deviation=DEVIATION)
    np.testing.assert_array_equal(blank.learned(), np.zeros(N))
    np.testing.assert_allclose(blank.deviation, DEVIATION, rtol=1e-6)


def test_neither_order_nor_parts_matter(posterior):
    order = RANDOM.permutation(PLACES)
    shuffled = learn(
        EMBEDDING, Feedback(ITEM[order], PROMISE[order], REWARD[order]), deviation=DEVIATION
    )
    np.testing.assert_allclose(shuffled.mean, posterior.mean)


def test_an_item_that_sells_rises_and_takes_what_is_like_it_along():
    embedding = np.array([[1, 0], [0.9, np.sqrt(1 - 0.81)], [0, 1]], np.float32)
    sold = Feedback(np.zeros(20, np.int64), np.full(20, 0.01), np.ones(20))
    calm = Feedback(np.full(200, 2), np.full(200, 0.1), np.zeros(200))
    both = Feedback(
        np.concatenate([sold.item, calm.item]),
        np.concatenate([sold.promise, calm.promise]),
        np.concatenate([sold.reward, calm.reward]),
    )
    first, like, other = learn(embedding, both, deviation=1.0).mean
    assert first > like > 1 > other


def test_what_was_shown_is_surer_than_what_was_not(posterior):
    assert posterior.deviation[:5].max() < posterior.deviation[5:].min()


def test_linucb_adds_the_deviation_and_thompson_draws_from_the_posterior(posterior):
    random = np.random.default_rng(8)
    linucb = posterior.draws("linucb", optimism=0.7, random=random)
    assert linucb.shape == (N, 1)
    factor = np.exp(linucb[:, 0] + posterior.learned())
    np.testing.assert_allclose(factor, posterior.mean + 0.7 * posterior.deviation, rtol=1e-4)
    many = np.concatenate(
        [posterior.draws("thompson", optimism=0.7, random=random) for _ in range(400)], axis=1
    )
    assert many.shape == (N, 400 * DRAWS)
    factors = np.exp(many + posterior.learned()[:, np.newaxis])
    # Where next to no draw is cut at the floor.
    for item in np.flatnonzero(posterior.mean > 4 * posterior.deviation):
        assert factors[item].mean() == pytest.approx(posterior.mean[item], rel=0.03)
        assert factors[item].std() == pytest.approx(0.7 * posterior.deviation[item], rel=0.05)


def test_an_item_that_nobody_should_want_keeps_a_little_of_its_promise_and_a_draw_less():
    """One of two opposites sells, so that the factor of the other one falls below 0."""
    sold = Feedback(np.zeros(50, np.int64), np.full(50, 0.01), np.ones(50))
    found = learn(np.array([[1, 0], [-1, 0]], np.float32), sold, deviation=2.0)
    assert found.mean[1] < 0
    assert found.learned()[1] == pytest.approx(np.log(0.05))
    draw = found.draws("linucb", optimism=0.0, random=np.random.default_rng(0))
    np.testing.assert_allclose(draw[:, 0], [0.0, np.log(0.05)], atol=1e-6)


def test_a_thompson_draw_is_one_and_the_same_for_items_that_are_alike():
    twins = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    nothing = Feedback(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    draws = learn(twins, nothing, deviation=1.0).draws(
        "thompson", optimism=1.0, random=np.random.default_rng(0)
    )
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-6)
    assert not np.allclose(draws[0], draws[2])
