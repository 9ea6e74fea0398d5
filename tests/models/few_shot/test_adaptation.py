"""What is learned of first interactions, on a made-up shop whose items sell at a lasting pace."""

import dataclasses
import functools

import numpy as np
import pytest
from scipy.optimize import minimize

from models.few_shot.adaptation import _head, learn_adaptation
from models.few_shot.clock import ShopClock
from models.few_shot.evidence import FEATURES
from models.few_shot.revealing import COUNTS, Revealing
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch, purchase_matrix
from models.interactions import Interactions
from models.ranking import ranking_quality

USERS, ITEMS, TARGETS = 150, 120, 60


def make(*, pace: bool, seed: int = 0):
    """Half of the items are launched; they sell alike, or some much faster than others."""
    random = np.random.default_rng(seed)
    demand = random.lognormal(sigma=1.2 if pace else 0.0, size=ITEMS)
    rows = []
    for item in range(ITEMS):
        start = random.uniform(0, 0.5)
        count = min(USERS, max(1, int(25 * demand[item] / demand.mean())))
        for user in random.choice(USERS, count, replace=False):
            rows.append((user, item, 1e6 * random.uniform(start, 1.0)))
    user, item, time = np.array(rows).T
    user, item = user.astype(np.int32), item.astype(np.int32)
    none = np.zeros((len(user), 0))
    interactions = Interactions(
        user, item, np.ones(len(user), np.float32), time.astype(np.int64),
        none.astype(np.int32), none.astype(np.float32), np.full(len(user), np.nan, np.float32),
        np.zeros(len(user), np.int32),
    )  # fmt: skip
    launch = SimulatedLaunch.hide(
        purchase_matrix(user, item, (USERS, ITEMS)), targets=np.arange(TARGETS),
        anchors=np.arange(TARGETS, ITEMS), regularization=20.0,
    )  # fmt: skip
    weights = random.random((ITEMS - TARGETS, TARGETS)).astype(np.float32)
    return interactions, AlignedLaunch(launch, weights)


def learn(interactions, launches):
    clock = ShopClock.of(interactions.timestamp)
    return learn_adaptation(launches, interactions, clock, anchors_per_item=8)


def test_where_pace_tells_demand_a_fast_item_is_raised():
    learned = learn(*(lambda i, a: (i, [a]))(*make(pace=True)))
    assert learned.count.tolist() == list(COUNTS)
    speed = learned.weight[:, FEATURES.index("speed")]
    assert (speed[learned.count >= 3] > 0.1).all()
    assert speed[0] == 0  # one interaction has no pace
    assert all(np.isfinite(column).all() for column in vars(learned).values())


def test_a_feature_that_never_varies_counts_for_nothing():
    learned = learn(*(lambda i, a: (i, [a]))(*make(pace=True)))
    rating = FEATURES.index("rating")
    assert (learned.precision[:, rating] == 0).all()


def test_evidence_is_left_out_where_it_is_no_clear_gain():
    def counts(*, pace, seed):
        learned = learn(*(lambda i, a: (i, [a]))(*make(pace=pace, seed=seed)))
        return (learned.weight != 0).any(axis=1)

    silent = np.array([counts(pace=False, seed=seed) for seed in range(4)])
    assert silent.mean() < 0.5
    assert all(counts(pace=True, seed=seed).all() for seed in range(4))


@pytest.mark.parametrize("launches", [[], None])
def test_too_little_to_learn_from_leaves_the_text_alone(launches):
    interactions, aligned = make(pace=True)
    if launches is None:
        few = SimulatedLaunch.hide(
            aligned.launch.history, targets=np.arange(3), anchors=np.arange(3, 60),
            regularization=20.0,
        )  # fmt: skip
        launches = [AlignedLaunch(few, np.ones((57, 3), np.float32))]
    learned = learn(interactions, launches)
    none = EvidenceWeights.none()
    for name, column in vars(learned).items():
        np.testing.assert_array_equal(column, getattr(none, name))


class Told:
    """A launch whose targets have had their first interactions, by the definition: one at a time.

    Attributes:
        features: float64 [m, F], of the items that have at least three interactions more.
        logits, inherit, own: float64 [n, m], of the users who bought some of these later.
        wanted: bool [n, m], what they bought later.
        had: bool [n, m], what they had by then.
        level: log of how much more such items are bought than the text promises.
    """

    def __init__(self, interactions, aligned, k):
        launch = aligned.launch
        history = launch.history.toarray().astype(float)
        lent = self._strongest(aligned.weights.T)
        scores = np.maximum(history @ launch.teacher, 0.0)
        active = history.any(axis=1)
        leaning = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9)
        background = leaning[active].mean(axis=0)
        lifts = np.log((leaning / background + 0.3) / 1.3)
        logits = self._logits(history @ launch.teacher @ aligned.weights)
        powers = np.exp(logits[active])
        promised = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0) * TARGETS

        order = np.lexsort((interactions.user, interactions.timestamp))
        bought = [order[interactions.item[order] == item] for item in launch.targets]
        count = np.array([len(rows) for rows in bought])
        reached = np.flatnonzero(count >= k + 3)
        share = [self._clock(interactions, row) for row in range(len(interactions))]
        features, adapted = [], np.zeros_like(lent)
        had, wanted = np.zeros((2, USERS, TARGETS), bool)
        for item in reached:
            first, later = bought[item][:k], bought[item][k:]
            supporters, begin, end = interactions.user[first], share[first[0]], share[first[-1]]
            adapted[item] = lent[item] * np.exp(lifts[supporters].sum(axis=0) / np.sqrt(k))
            adapted[item] /= adapted[item].sum()
            features.append(
                [
                    np.log(k - 1) - np.log(1000 * (end - begin) + 1) if k > 1 else 0.0,
                    1 - end,
                    np.log(1 - end + 0.02),
                    np.log(promised[item]),
                    np.log1p(history[supporters].sum(axis=1)).mean(),
                    interactions.rating[first].mean(),
                ]
            )
            had[supporters, item] = wanted[interactions.user[later], item] = True
        self.features = np.array(features)
        users = wanted.any(axis=1) & active
        shown = np.ix_(users, reached)
        self.had, self.wanted, self.logits = had[shown], wanted[shown], logits[shown]
        self.inherit, self.own = (
            self._ratio(values, adapted, lent)[shown] for values in (scores, history)
        )
        more = (count[count >= k].mean() - k + 0.5) / (count.mean() + 0.5)
        self.level = np.log(more * promised.mean() / promised[count >= k].mean())

    def _strongest(self, weights):
        """The eight positive weights of each target, with sum 1."""
        kept = np.zeros(weights.shape)
        for item, row in enumerate(weights):
            best = np.argsort(-row)[:8]
            kept[item, best] = row[best] / row[best].sum()
        return kept

    def _logits(self, inherited):
        mean = np.maximum(inherited.mean(axis=1, keepdims=True), 0.0)
        return np.log(np.maximum(inherited, 0.0) / (mean + 1e-4) + 0.1)

    def _clock(self, interactions, row):
        """Share of the shop's interactions by then, those of the same second in the middle."""
        times, now = interactions.timestamp, interactions.timestamp[row]
        return (times < now).mean() + (times == now).mean() / 2

    def _ratio(self, values, adapted, lent):
        floor = 0.05 * (values @ lent.mean(axis=0))[:, np.newaxis] + 1e-9
        return np.log((values @ adapted.T + floor) / (values @ lent.T + floor))

    def added(self, scaled, weights):
        """By weights of the features and of the two ratios."""
        return scaled @ weights[:-2] + weights[-2] * self.inherit + weights[-1] * self.own

    def quality(self, logits):
        """Mean of the users' recall and NDCG at 20."""
        return np.mean(ranking_quality(logits - 100.0 * self.had, self.wanted, 20))


def two_launches():
    """Each half of a shop's items is launched once, and people give ratings."""
    interactions, aligned = make(pace=True)
    random = np.random.default_rng(1)
    rating = random.uniform(size=len(interactions)).astype(np.float32)
    interactions = dataclasses.replace(interactions, rating=rating)
    purchases = purchase_matrix(interactions.user, interactions.item, (USERS, ITEMS))
    other = SimulatedLaunch.hide(
        purchases, targets=np.arange(TARGETS, ITEMS), anchors=np.arange(TARGETS),
        regularization=20.0,
    )  # fmt: skip
    weights = random.random((TARGETS, ITEMS - TARGETS)).astype(np.float32)
    return interactions, [aligned, AlignedLaunch(other, weights)]


@pytest.mark.parametrize("k", [1, 10])
def test_what_a_launch_reveals_is_what_the_definition_says(k):
    interactions, launches = two_launches()
    clock = ShopClock.of(interactions.timestamp)
    for aligned in launches:
        part = Revealing(aligned, interactions, clock, 8).reveal(k)
        told = Told(interactions, aligned, k)
        assert part is not None
        for name in ("logits", "inherit", "own", "features", "level"):
            np.testing.assert_allclose(
                getattr(part, name), getattr(told, name), atol=2e-3, err_msg=name
            )
        np.testing.assert_array_equal(part.wanted, told.wanted)
        np.testing.assert_array_equal(part.struck, -100.0 * told.had)


def test_lists_are_judged_by_recall_and_ndcg_without_what_a_user_has():
    interactions, launches = two_launches()
    weights = np.random.default_rng(2).normal(scale=0.1, size=len(FEATURES) + 2)
    for aligned in launches:
        clock, told = ShopClock.of(interactions.timestamp), Told(interactions, aligned, 5)
        part = Revealing(aligned, interactions, clock, 8).reveal(5)
        assert part is not None
        logits = told.logits + told.added(told.features, weights)
        assert _head(part, weights).mean() == pytest.approx(told.quality(logits), abs=1e-3)
        assert told.quality(logits) > told.quality(logits + 100.0 * told.had) + 0.01
        # And so the report has it, by features as the served model reads them.
        one, each = np.ones(1, np.float32), np.ones((1, len(FEATURES)), np.float32)
        row = EvidenceWeights(
            count=5 * one, center=-each, precision=np.float32(0.4) * each,
            weight=weights[np.newaxis, :-2].astype(np.float32),
            inherit=weights[-2:-1].astype(np.float32), own=weights[-1:].astype(np.float32),
            level=0 * one,
        )  # fmt: skip
        logits = told.logits + told.added(np.clip((told.features + 1) * 0.4, -3, 3), weights)
        for learned, expected in ((row, logits), (None, told.logits)):
            recall, _ = ranking_quality(expected - 100.0 * told.had, told.wanted, 20)
            assert part.recall(learned) == pytest.approx(recall.mean(), abs=1e-3)


def chosen(interactions, rows, timestamp):
    """Some of the interactions at other times, and the launch of the first items."""
    columns = {name: column[rows] for name, column in vars(interactions).items()}
    interactions = Interactions(**columns | {"timestamp": timestamp})
    launch = SimulatedLaunch.hide(
        purchase_matrix(interactions.user, interactions.item, (USERS, ITEMS)),
        targets=np.arange(TARGETS), anchors=np.arange(TARGETS, ITEMS), regularization=20.0,
    )  # fmt: skip
    return interactions, launch


def revealed(interactions, launch, k):
    weights = np.random.default_rng(4).random((ITEMS - TARGETS, TARGETS)).astype(np.float32)
    clock = ShopClock.of(interactions.timestamp)
    return Revealing(AlignedLaunch(launch, weights), interactions, clock, 8).reveal(k)


def test_whoever_is_asked_has_a_history_and_wants_what_they_do_not_have():
    interactions, _ = make(pace=True)
    # Five users have bought nothing that is known, and half of all purchases are made again.
    rows = np.flatnonzero((interactions.user >= 5) | (interactions.item < TARGETS))
    again = rows[::2]
    time = np.concatenate([interactions.timestamp[rows], 2_000_000 + np.arange(len(again))])
    interactions, launch = chosen(interactions, np.concatenate([rows, again]), time)
    k, had, wanted = 3, np.zeros((USERS, TARGETS), bool), np.zeros((USERS, TARGETS), bool)
    for item in range(TARGETS):
        bought = np.flatnonzero(interactions.item == item)
        if len(bought) >= k + 3:
            users = interactions.user[bought[np.argsort(interactions.timestamp[bought])]]
            had[users[:k], item] = wanted[users[k:], item] = True
    assert (had & wanted).any() and wanted[:5].any()
    wanted &= ~had
    wanted[:5] = False
    part = revealed(interactions, launch, k)
    assert part is not None
    users, items = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(had.any(axis=0))
    np.testing.assert_array_equal(part.wanted, wanted[np.ix_(users, items)])
    np.testing.assert_array_equal(part.struck < 0, had[np.ix_(users, items)])


def test_interactions_of_one_second_are_revealed_in_one_order_whatever_that_of_the_rows_is():
    interactions, _ = make(pace=True)
    rating = np.random.default_rng(6).random(len(interactions)).astype(np.float32)
    day = interactions.timestamp // 100_000
    interactions = dataclasses.replace(interactions, rating=rating)
    shuffled = np.random.default_rng(7).permutation(len(interactions))
    orders = (np.arange(len(interactions)), shuffled)
    shops = [chosen(interactions, rows, day[rows]) for rows in orders]
    one, other = (revealed(given, launch, 3) for given, launch in shops)
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.struck, other.struck)
    np.testing.assert_allclose(one.features, other.features, rtol=1e-6)


def test_enough_are_twenty_items_with_three_interactions_left():
    interactions, aligned = make(pace=True)
    made = Revealing(aligned, interactions, ShopClock.of(interactions.timestamp), 8)
    count = np.bincount(interactions.item, minlength=ITEMS)[:TARGETS]
    expected = [int((count >= k + 3).sum()) >= 20 for k in range(60)]
    assert [made.is_enough(k) for k in range(60)] == expected
    assert {True, False} == set(expected)


@pytest.mark.parametrize("targets", [1, TARGETS])
def test_a_launch_without_a_choice_or_without_anybody_to_ask_reveals_nothing(targets):
    interactions, _ = make(pace=True)
    rows = np.flatnonzero(
        np.where(interactions.user < 50, interactions.item < targets, interactions.item >= TARGETS)
        if targets > 1 else (interactions.item < 1) | (interactions.item >= TARGETS)
    )  # fmt: skip
    some, launch = chosen(interactions, rows, interactions.timestamp[rows])
    assert (np.bincount(some.item)[:targets] >= 4).any()
    assert revealed(some, launch, 1) is None


def test_a_launch_that_is_revealed_keeps_no_table_of_all_anchors():
    interactions, aligned = make(pace=True)
    made = Revealing(aligned, interactions, ShopClock.of(interactions.timestamp), 8)
    kept = {name: value for name, value in vars(made).items() if isinstance(value, np.ndarray)}
    assert [value.shape for value in kept.values()].count((TARGETS, 8)) == 2
    for name, value in kept.items():
        held = value if value.base is None else value.base
        assert held.nbytes == value.size * value.itemsize, name


def test_what_is_learned_is_the_best_multiple_of_what_explains_later_purchases_best():
    k = 5
    interactions, launches = two_launches()
    learned = learn(interactions, launches).at(k)
    parts = [Told(interactions, aligned, k) for aligned in launches]
    features = np.concatenate([part.features for part in parts])
    center, spread = features.mean(axis=0), features.std(axis=0)
    np.testing.assert_allclose(learned.center[0], center, atol=1e-3)
    np.testing.assert_allclose(learned.precision[0], 1 / spread, rtol=1e-2)
    scaled = [np.clip((part.features - center) / spread, -3, 3) for part in parts]

    def loss(w):
        """Of every user's choices, in the mean."""
        value = (w[1:] ** 2).sum() / len(features) / 2
        for part, own in zip(parts, scaled, strict=True):
            logits = w[0] * part.logits + part.added(own, w[1:]) - 100.0 * part.had
            logits = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            target = part.wanted / part.wanted.sum(axis=1, keepdims=True)
            value -= (target * logits).sum(axis=1).mean() / len(parts)
        return value

    fitted = minimize(loss, np.r_[1.0, np.zeros(8)]).x
    weights, text = fitted[1:] / fitted[0], fitted[0]
    quality = {
        strength: np.mean(
            [
                part.quality(part.logits + part.added(own, strength * weights))
                for part, own in zip(parts, scaled, strict=True)
            ]
        )
        for strength in (0.0, 0.3, 0.6, 0.8)
    }
    # Of two that give lists as good, the fit's rounding decides.
    strength = min(quality, key=lambda one: abs(learned.weight[0, 0] - one * weights[0]))
    assert quality[strength] > max(quality.values()) - 0.001 > quality[0.0] + 0.1
    # Each of these would else be within what the fit leaves open.
    assert abs(text - 1) > 0.2 and abs(weights[-2] - weights[-1]) > 0.1
    level = strength * np.mean([part.level for part in parts]) / text
    close = functools.partial(np.testing.assert_allclose, rtol=0.1, atol=0.01)
    close(learned.weight[0], strength * weights[:-2])
    close([learned.inherit[0], learned.own[0]], strength * weights[-2:])
    close(learned.level[0], level)
