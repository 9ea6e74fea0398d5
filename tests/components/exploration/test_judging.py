"""What a policy would have done at logged places, against an enumeration of its draws."""

import numpy as np
import pytest

from components.exploration.judging import Judgement, judge, logged_places
from components.exploration.observing import Observed
from models.errors import Refused
from models.exploration.bandit import Feedback, Posterior
from models.exploration.off_policy import Estimate
from pipeline.config import load_configuration

ITEMS = 5
OPTIONS = load_configuration(None, ["explore.policy=thompson", "explore.uniform=0.2"]).explore
POSTERIOR = Posterior(
    rate=4.0,
    mean=np.array([1.0, 2.0, 0.5, -0.3, 1.2]),
    half=np.random.default_rng(3).normal(size=(3, ITEMS)) * 0.4,
)
PROMISE = np.array(
    [[0.3, 0.2, 0.1, 0.4, 0.0], [0.1, 0.1, 0.3, 0.0, 0.5], [0.2, 0.2, 0.2, 0.2, 0.2]], np.float32
)
# Lists 0 and 3 judge with one and two explored places, list 4 with one; 1 and 2 have taught.
PLACES = {0: [1], 3: [4, 2], 4: [0]}
OBSERVED = Observed(
    feedback=Feedback(
        np.array([1, 3, 4, 2, 1, 0]), np.full(6, 0.1), np.array([1.0, 0, 0, 1, 1, 0])
    ),
    of=np.array([0, 1, 3, 3, 3, 4]),
    propensity=np.array([0.5, 0.5, 0.3, 0.6, 1.0, 0.1]),
    user=np.array([7, 8, 8, 9, 7]),
    is_judge=np.array([True, False, False, True, True]),
    judge=np.array([0, 3, 4]),
    promise=PROMISE,
)
UNSPENT = np.zeros(ITEMS, np.int32)


def enumerated(promise, places):
    """Chance of each item, by going through the draws."""
    draw = POSTERIOR.draws("thompson", optimism=1.0, random=np.random.default_rng(0))
    factor = np.exp(draw.astype(float) + POSTERIOR.learned()[:, np.newaxis])
    left = np.flatnonzero(promise)
    chance = np.zeros(ITEMS)
    for m in range(draw.shape[1]):
        ranked = sorted(left, key=lambda n: -promise[n] * factor[n, m])
        chance[ranked[:places]] += 0.8 / draw.shape[1]
    chance[left] += 0.2 * places / len(left)
    return chance


def test_chances_and_expectations_are_those_of_all_draws():
    logged = logged_places(OBSERVED, POSTERIOR, OPTIONS, np.ones(ITEMS, bool))
    np.testing.assert_array_equal(logged.user, [7, 9, 9, 7])
    np.testing.assert_array_equal(logged.reward, [1, 0, 1, 0])
    np.testing.assert_array_equal(logged.propensity, [0.5, 0.3, 0.6, 0.1])
    row = 0
    for promise, items in zip(PROMISE, PLACES.values(), strict=True):
        chance = enumerated(promise, len(items))
        expected = 4.0 * promise * np.maximum(POSTERIOR.mean, 0)
        for item in items:
            assert logged.target[row] == pytest.approx(chance[item], rel=1e-5)
            assert logged.predicted[row] == pytest.approx(expected[item], rel=1e-5)
            mean = (chance * expected).sum() / len(items)
            assert logged.expected[row] == pytest.approx(mean, rel=1e-5)
            row += 1


def test_items_whose_budget_is_spent_are_not_shown_by_the_policy_that_is_judged():
    left = np.array([True, True, False, True, True])
    logged = logged_places(OBSERVED, POSTERIOR, OPTIONS, left)
    # The list of users 9 has two explored places, of which the second showed what is spent now.
    np.testing.assert_array_equal(logged.user, [7, 9, 9, 7])
    assert logged.target[2] == 0.0
    for place, (promise, number, item) in {
        0: (PROMISE[0], 1, 1), 1: (PROMISE[1], 2, 4), 3: (PROMISE[2], 1, 0),
    }.items():  # fmt: skip
        promise = promise * left
        chance = enumerated(promise, number)
        expected = 4.0 * promise * np.maximum(POSTERIOR.mean, 0)
        assert logged.target[place] == pytest.approx(chance[item], rel=1e-5)
        assert logged.expected[place] == pytest.approx((chance * expected).sum() / number, rel=1e-5)


def test_lists_that_have_more_explored_places_than_items_left_for_them_do_not_judge():
    left = np.array([True, False, False, False, False])  # user 9 can be shown but one then
    logged = logged_places(OBSERVED, POSTERIOR, OPTIONS, left)
    np.testing.assert_array_equal(logged.user, [7, 7])
    np.testing.assert_allclose(logged.target, [0.0, 1.0])
    assert not len(logged_places(OBSERVED, POSTERIOR, OPTIONS, np.zeros(ITEMS, bool)).reward)


def shown_at_random(likes, lists, seed):
    """Each user sees one explored place a list; who likes an item always takes it."""
    users, items = likes.shape
    user = np.repeat(np.arange(users), lists)
    item = np.random.default_rng(seed).integers(items, size=len(user))
    judges = user % 2 == 1
    chance = np.full(len(user), 1 / items)
    return Observed(
        feedback=Feedback(item, chance, likes[user, item].astype(float)),
        of=np.arange(len(user)),
        propensity=chance,
        user=user,
        is_judge=judges,
        judge=np.flatnonzero(judges),
        promise=np.full((judges.sum(), items), 1 / items, np.float32),
    )


def test_the_gate_refuses_a_policy_that_can_no_longer_show_what_sells():
    likes = np.stack([np.arange(400) % 5 < 2, np.zeros(400, bool)], axis=1)
    observed = shown_at_random(likes, lists=3, seed=5)
    embedding = np.eye(2, 3, dtype=np.float32)
    budget = OPTIONS.budget
    rest, spent = (
        judge(embedding, observed, OPTIONS, impressions=np.array([shown, 0], np.int32))
        for shown in (budget - 1, budget)
    )
    assert rest is not None and rest.passes(0.0)
    assert spent is not None and not spent.passes(0.1)
    assert spent.doubly_robust.value == pytest.approx(0.0, abs=0.02)
    assert spent.logged.value == pytest.approx(0.2, abs=0.03)


def test_a_gain_where_none_can_be_had_is_claimed_in_few_of_many_logs():
    """All items are liked by as many; only whose taste a user's own lists tell differs."""
    claimed = 0
    for seed in range(60):
        likes = np.random.default_rng(seed).random((40, 10)) < 0.2
        observed = shown_at_random(likes, lists=25, seed=seed)
        judgement = judge(np.eye(10, 12, dtype=np.float32), observed, OPTIONS,
                          impressions=np.zeros(10, np.int32))  # fmt: skip
        assert judgement is not None
        claimed += judgement.gain.low > 0
    assert claimed <= 8  # about 3 are expected


def test_a_list_is_judged_by_what_others_have_taught():
    """The rewards of the lists that judge must not reach the policy that is judged."""
    embedding = np.eye(ITEMS, 3, dtype=np.float32)
    feedback, judges = OBSERVED.feedback, OBSERVED.is_judge[OBSERVED.of]
    other = feedback._replace(reward=np.where(judges, 1 - feedback.reward, feedback.reward))
    found = []
    for one in (feedback, other):
        judgement = judge(embedding, OBSERVED._replace(feedback=one), OPTIONS, impressions=UNSPENT)
        assert judgement is not None and judgement.places == 4
        found.append(judgement)
    assert found[0].ips != found[1].ips
    # What is left without the rewards that judge: expectations and weights of the policy.
    model = [one.doubly_robust.value - one.ips.value for one in found]
    assert model[0] == pytest.approx(model[1])


def test_without_explored_places_there_is_nothing_to_judge():
    plain = OBSERVED._replace(
        propensity=np.ones(6), judge=np.zeros(0, np.int64), promise=np.zeros((0, ITEMS), np.float32)
    )
    embedding = np.eye(ITEMS, 3, dtype=np.float32)
    assert judge(embedding, plain, OPTIONS, impressions=UNSPENT) is None


@pytest.mark.parametrize(("gain", "error", "passes"), [
    (0.01, 0.005, True), (0.0, 0.0, True), (0.01, 0.04, False), (-0.06, 0.0, False),
    (float("nan"), 0.0, False),
])  # fmt: skip
def test_the_lower_bound_decides_and_both_values_are_named(gain, error, passes):
    one = Estimate(0.2, 0.01)
    judgement = Judgement(100, one, Estimate(gain, error), one, one, one, one)
    if passes:
        judgement.check(0.05)
    else:
        with pytest.raises(Refused, match=r"at least [-\dna.]+ in 95 .* refused below 0\.1500"):
            judgement.check(0.05)
