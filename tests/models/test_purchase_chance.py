from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch, purchase_matrix
from models.interactions import PAD
from models.purchase_chance import DrawnPairs, Pairs, PurchaseChance
from tests.models.conftest import interactions_of

NONE = Pairs(*(np.zeros(0, np.float32),) * 3, np.zeros(0, bool))


def pairs(count, *, slope, seed=0):
    """Purchases that logit and popularity tell from other pairs, the better the steeper."""
    random = np.random.default_rng(seed)
    head = random.normal(0.5, 0.05, count).astype(np.float32)
    logit, popularity = random.normal(0.0, 2.0, (2, count)).astype(np.float32)
    margin = 4 * head - 2.0 + slope * logit + 0.4 * popularity
    return Pairs(head, logit, popularity, random.random(count) < 1 / (1 + np.exp(-margin)))


def chances(chance, given, *, is_anchor):
    return chance(
        tf.constant(given.head), tf.constant(given.logit), tf.constant(given.popularity),
        is_anchor=tf.fill([len(given.head)], is_anchor),
        is_told=tf.constant(~np.isnan(given.logit)),
    ).numpy()  # fmt: skip


def test_without_any_pairs_it_is_nearly_what_the_head_says():
    chance = PurchaseChance()
    chance.fit(heirs=NONE, anchors=NONE)
    logit, popularity = np.array([*range(8), np.nan], np.float32), np.arange(9, dtype=np.float32)
    head = np.linspace(0.3, 0.7, 9, dtype=np.float32)
    given = Pairs(head, logit, popularity, np.zeros(9, bool))
    for is_anchor in (False, True):
        found = chances(chance, given, is_anchor=is_anchor)
        np.testing.assert_allclose(found, given.head, atol=0.02)


def test_each_kind_of_item_has_the_logistic_regression_of_its_own_pairs():
    kinds = {False: pairs(5000, slope=1.2), True: pairs(5000, slope=0.3, seed=1)}
    chance = PurchaseChance()
    chance.fit(heirs=kinds[False], anchors=kinds[True])
    for is_anchor, given in kinds.items():
        inputs = np.stack([given.head, given.logit, given.popularity], axis=1)
        reference = LogisticRegression(C=1e6).fit(inputs, given.bought).predict_proba(inputs)[:, 1]
        found = chances(chance, given, is_anchor=is_anchor)
        np.testing.assert_allclose(found, reference, atol=0.05)  # There is no prior.
        error = np.mean((found - given.bought) ** 2)
        assert chance.squared_error(given, is_anchor=is_anchor) == pytest.approx(error, rel=1e-5)
        assert error == pytest.approx(np.mean((reference - given.bought) ** 2), rel=0.01)


def test_whom_retrieval_tells_nothing_of_is_rated_without_it_whatever_the_item():
    random = np.random.default_rng(2)
    halves = []
    for share in (0.4, 0.2):
        head = random.uniform(0.0, 1.0, 2000).astype(np.float32)
        bought = random.random(2000) < share
        nothing = np.full(2000, np.nan, np.float32)
        halves.append(Pairs(head, nothing, np.zeros(2000, np.float32), bought))
    chance = PurchaseChance()
    chance.fit(heirs=halves[0], anchors=halves[1])
    for given, is_anchor in zip(halves, (False, True), strict=True):
        found = chances(chance, given, is_anchor=is_anchor)
        assert found.mean() == pytest.approx(0.3, abs=0.02)
    told = pairs(10, slope=1.0)
    fresh = PurchaseChance()
    for is_anchor in (False, True):
        np.testing.assert_array_equal(
            chances(chance, told, is_anchor=is_anchor), chances(fresh, told, is_anchor=is_anchor)
        )


def test_a_few_pairs_move_it_little():
    chance = PurchaseChance()
    half, logit = np.full(2, 0.5, np.float32), np.array([1.0, -1.0], np.float32)
    few = Pairs(half, logit, np.zeros(2, np.float32), np.array([True, False]))
    chance.fit(heirs=few, anchors=NONE)
    [one, other] = chances(chance, few, is_anchor=False)
    assert 0.5 < one < 0.75 and 0.25 < other < 0.5


@pytest.fixture
def launched():
    """Six anchors, four targets, forty users; what targets inherit is made up."""
    random = np.random.default_rng(3)
    user, item = (random.integers(0, most, 300).astype(np.int32) for most in (40, 12))
    purchases = purchase_matrix(user, item, (40, 12))
    launch = SimulatedLaunch.hide(
        purchases, targets=np.array([1, 4, 8, 11]), anchors=np.array([0, 2, 3, 6, 7, 10]),
        regularization=5.0,
    )  # fmt: skip
    return AlignedLaunch(launch, random.normal(0.3, 0.2, (6, 4)).astype(np.float32))


def logit(launched, history, item):
    """By the definition, for one user."""
    launch = launched.launch
    bought = np.isin(launch.anchors, history).astype(float)
    scores = bought @ launch.teacher
    lent = (
        scores[list(launch.anchors).index(item)]
        if item in launch.anchors
        else scores @ launched.weights[:, list(launch.targets).index(item)]
    )
    new = scores @ launched.weights
    reference = (new.sum() + 50 * np.mean([*scores, *new])) / (len(new) + 50)
    return np.log(max(lent, 0.0) / (max(reference, 0.0) + 1e-4) + 0.1)


HISTORIES = np.array(
    [[3, 10, 0], [2, PAD, PAD], [6, 1, 6], [4, 5, PAD], [PAD, PAD, PAD]], np.int32
)  # The last two hold no anchor.


@pytest.mark.parametrize(("own", "item"), [(False, [1, 11, 4, 1, 8]), (True, [2, 2, 10, 0, 3])])
def test_logits_of_a_launch_are_those_of_the_towers(launched, own, item):
    found = launched.logits(HISTORIES, np.array(item), own=own)
    expected = [logit(launched, *pair) for pair in zip(HISTORIES[:3], item, strict=False)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-4, atol=1e-4)
    assert np.isnan(found[3:]).all()


@pytest.mark.parametrize("own", [False, True])
def test_each_purchase_stands_beside_an_item_of_its_kind_drawn_for_the_same_user(launched, own):
    item = np.array([2, 1, 8, 5, 11, 10, 4, 3], np.int32)  # 5 is neither anchor nor target.
    history = np.full((8, 1), 7, np.int32)
    history[2] = history[5] = PAD
    bought = interactions_of(np.arange(8, dtype=np.int32), item, np.ones(8, np.float32))
    bought = replace(bought, history=history)
    nobody = interactions_of(*(np.zeros(0, np.int32),) * 2, np.zeros(0, np.float32))
    kinds = (nobody, bought) if own else (bought, nobody)
    heirs, anchors = DrawnPairs.of(launched, train=kinds[0], later=kinds[1])
    found, other = (anchors, heirs) if own else (heirs, anchors)
    known = launched.launch.anchors if own else launched.launch.targets
    rows = [row for row in range(8) if item[row] in known]
    assert len(other.item) == 0
    assert found.interactions is bought
    assert found.chosen.tolist() == rows * 2
    assert found.item[: len(rows)].tolist() == item[rows].tolist()
    assert set(found.item[len(rows) :]) <= set(known)
    assert found.bought.tolist() == [True] * len(rows) + [False] * len(rows)
    expected = [
        logit(launched, [7], one) if history[row] == 7 else np.nan
        for row, one in zip(found.chosen, found.item, strict=True)
    ]
    assert np.isnan(expected).any()
    np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-4)
    launch, popularity = launched.launch, launched.launch.log_popularity
    for one, popular in zip(found.item, found.popularity, strict=True):
        expected = (
            popularity[list(launch.anchors).index(one)]
            if own
            else popularity @ launched.weights[:, list(launch.targets).index(one)]
        )
        assert popular == pytest.approx(expected, rel=1e-5)


def test_a_launch_without_anything_makes_no_pairs():
    nobody = purchase_matrix(np.zeros(0, np.int32), np.zeros(0, np.int32), (3, 2))
    nothing = np.zeros(0, np.int64)
    launch = SimulatedLaunch.hide(nobody, targets=nothing, anchors=nothing, regularization=1.0)
    empty = AlignedLaunch(launch, np.zeros((0, 0), np.float32))
    bought = interactions_of(*(np.zeros(2, np.int32),) * 2, np.ones(2, np.float32))
    for found in DrawnPairs.of(empty, train=bought, later=bought):
        assert [len(column) for column in found[1:]] == [0, 0, 0, 0, 0]
