"""Estimators of another policy's reward, on a bandit small enough to be enumerated."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from models.exploration.off_policy import (
    Estimate,
    Logged,
    doubly_robust,
    gain,
    ips,
    on_policy,
    replay,
    snips,
    truncated,
)

# Two contexts, three actions.
CONTEXT = np.array([0.4, 0.6])
REWARD = np.array([[0.1, 0.5, 0.3], [0.8, 0.2, 0.4]])
LOGGING = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
TARGET = np.array([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2]])
TRUE = (CONTEXT[:, np.newaxis] * TARGET * REWARD).sum()
WRONG = np.array([[0.9, 0.0, 0.4], [0.1, 0.6, 0.7]])


def logged(context, action, reward, *, model=REWARD, propensity=LOGGING, target=TARGET):
    return Logged(
        user=np.arange(len(context)),
        reward=np.asarray(reward, float),
        propensity=propensity[context, action],
        target=target[context, action],
        predicted=model[context, action],
        expected=(target * model).sum(axis=1)[context],
    )


def expectation(estimate, *, model=REWARD, propensity=LOGGING):
    """Mean of the estimates over all that may come of two places, by their chances."""
    mean = 0.0
    events = list(itertools.product(range(2), range(3), range(2)))
    for pair in itertools.product(events, repeat=2):
        context, action, reward = map(np.array, zip(*pair, strict=True))
        bought = np.where(reward, REWARD[context, action], 1 - REWARD[context, action])
        chance = np.prod(CONTEXT[context] * LOGGING[context, action] * bought)
        one = logged(context, action, reward, model=model, propensity=propensity)
        mean += chance * estimate(one).value
    return mean


def sample(size, seed=1):
    random = np.random.default_rng(seed)
    context = (random.random(size) < CONTEXT[1]).astype(int)
    action = (random.random(size)[:, np.newaxis] > LOGGING[context].cumsum(axis=1)).sum(axis=1)
    return context, action, random.random(size) < REWARD[context, action]


def test_ips_is_unbiased():
    assert expectation(ips) == pytest.approx(TRUE)


@pytest.mark.parametrize(
    ("model", "propensity"),
    [(WRONG, LOGGING), (REWARD, np.full((2, 3), 1 / 3))],
    ids=["the propensities are right", "the model is right"],
)
def test_the_doubly_robust_estimate_needs_one_of_the_two_to_be_right(model, propensity):
    assert expectation(doubly_robust, model=model, propensity=propensity) == pytest.approx(TRUE)


def test_it_is_wrong_where_both_are():
    wrong = expectation(doubly_robust, model=WRONG, propensity=np.full((2, 3), 1 / 3))
    assert abs(wrong - TRUE) > 0.01


def test_the_gain_is_unbiased_and_nothing_where_the_policies_are_the_same():
    value = (CONTEXT[:, np.newaxis] * LOGGING * REWARD).sum()
    assert expectation(gain, model=WRONG) == pytest.approx(TRUE - value)
    context, action, reward = sample(200)
    blank = np.zeros((2, 3))
    same = gain(logged(context, action, reward, model=blank, target=LOGGING))
    assert same == Estimate(0.0, 0.0)


def test_snips_and_dr_come_near_with_many_places_and_replay_does_with_uniform_ones():
    context, action, reward = sample(200_000)
    one = logged(context, action, reward, model=WRONG)
    for estimate in (ips(one), snips(one), doubly_robust(one)):
        assert abs(estimate.value - TRUE) < 4 * estimate.error < 0.02
    assert abs(replay(one).value - TRUE) > 4 * replay(one).error
    action = np.random.default_rng(2).integers(3, size=len(context))
    reward = np.random.default_rng(3).random(len(context)) < REWARD[context, action]
    one = logged(context, action, reward, propensity=np.full((2, 3), 1 / 3))
    assert abs(replay(one).value - TRUE) < 4 * replay(one).error < 0.02


def test_the_lower_bound_holds_in_95_of_100_logs():
    held = dict.fromkeys((ips, snips, doubly_robust), 0)
    for seed in range(400):
        one = logged(*sample(300, seed), model=WRONG)
        for estimate in held:
            held[estimate] += estimate(one).low < TRUE
    for number in held.values():
        assert 0.91 < number / 400 < 0.99


def test_the_lower_bound_is_one_sided():
    assert Estimate(3.0, 2.0).low == pytest.approx(3.0 - 2.0 * norm.ppf(0.95), abs=1e-3)


def by_user(one, each):
    """The same with several places of each user, who does the same at all of them."""
    places = np.repeat(np.arange(len(one.reward)), each)
    return Logged(*(column[places] for column in one))


def test_what_a_user_does_again_and_again_makes_no_estimate_surer():
    one = logged(*sample(50), model=WRONG)
    for estimate in (on_policy, replay, ips, snips, doubly_robust, gain):
        single, again = estimate(one), estimate(by_user(one, 7))
        assert again.value == pytest.approx(single.value)
        assert again.error == pytest.approx(single.error)


def test_the_error_follows_from_the_spread_of_the_users_sums():
    one = logged(*sample(60))
    of_user = np.random.default_rng(4).integers(9, size=60) * 1000  # some have more places
    value = sum(one.reward) / 60
    squares = [
        sum(r - value for r, u in zip(one.reward, of_user, strict=True) if u == user) ** 2
        for user in set(of_user)
    ]
    users = len(squares)
    error = (users / (users - 1) * sum(squares)) ** 0.5 / 60
    found = on_policy(one._replace(user=of_user))
    assert found.value == pytest.approx(value)
    assert found.error == pytest.approx(error)
    assert found.error != pytest.approx(on_policy(one).error, rel=0.01)


def test_snips_of_rewards_moved_by_a_constant_moves_with_them():
    context, action, reward = sample(300)
    one = logged(context, action, reward)
    moved = one._replace(reward=one.reward + 2.0)
    assert snips(moved).value == pytest.approx(snips(one).value + 2.0)
    assert ips(moved).value != pytest.approx(ips(one).value + 2.0, abs=1e-3)


def test_weights_are_cut_at_the_root_of_the_number_of_places_and_others_stay():
    context, action, reward = sample(100)
    rare = logged(context, action, reward)
    rare = rare._replace(propensity=np.where(np.arange(100) == 5, 1e-6, rare.propensity))
    cut = truncated(rare)
    assert rare.weight[5] > 1000
    assert cut.weight[5] == pytest.approx(10.0)
    others = np.arange(100) != 5
    np.testing.assert_array_equal(cut.weight[others], rare.weight[others])
    np.testing.assert_array_equal(cut.target, rare.target)


def test_the_logging_policy_is_what_it_earned():
    context, action, reward = sample(50)
    one = logged(context, action, reward)
    assert on_policy(one).value == reward.mean()
    assert on_policy(one).error == pytest.approx(reward.std(ddof=1) / np.sqrt(50))


def test_a_policy_that_agrees_nowhere_has_no_replay():
    one = logged(*sample(5))._replace(target=np.zeros(5))
    assert np.isnan(replay(one).value)
    assert np.isnan(replay(one).low)
