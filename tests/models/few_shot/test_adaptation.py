"""What is learned of first interactions, on a made-up shop whose items sell at a lasting pace."""

import numpy as np
import pytest

from models.few_shot.adaptation import learn_adaptation
from models.few_shot.clock import ShopClock
from models.few_shot.evidence import FEATURES
from models.few_shot.revealing import COUNTS
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch, purchase_matrix
from models.interactions import Interactions

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
