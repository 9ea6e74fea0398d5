"""The plan of labels against Gaussian formulas written out in full."""

import numpy as np
import pytest

from models.label_plan import Placed, plan_labels
from tests.models.oracle import unit


def alike(rows):
    """Items of which the same is expected."""
    return Placed(np.asarray(rows, np.float32), np.zeros(len(rows), np.float32))


@pytest.fixture(scope="module")
def shelf():
    random = np.random.default_rng(4)
    return [
        Placed(
            unit(random.normal(size=(count, 6))).astype(np.float32),
            random.normal(size=count).astype(np.float32),
        )
        for count in (40, 9)
    ]


def relative(placed):
    demand = np.exp(placed.log_demand)
    return demand / demand.mean()


def posterior(space, known, noise):
    """Covariance of the values at some places once they are known at others but for noise."""
    across = space @ known.T
    system = known @ known.T + np.diag(noise)
    return space @ space.T - across @ np.linalg.solve(system, across.T)


def test_each_choice_takes_the_most_variance_from_what_will_be_wanted(shelf):
    candidates, labelled = shelf
    plan = plan_labels(candidates, labelled, 7)
    space, demand = candidates.embedding.astype(float), relative(candidates)

    def uncertain(chosen):
        known = np.vstack([labelled.embedding, space[chosen]])
        noise = 1 / np.concatenate([relative(labelled), demand[chosen]])
        return np.diag(posterior(space, known, noise))

    before = demand @ uncertain([])
    for place, row in enumerate(plan.row):
        chosen = plan.row[:place].tolist()
        left = [
            np.inf if other in chosen else demand @ uncertain([*chosen, other])
            for other in range(len(space))
        ]
        assert row == np.argmin(left)
        now = uncertain(chosen)
        assert plan.uncertainty[place] == pytest.approx(now[row], rel=1e-4)
        taken = demand @ now - left[row]
        assert plan.uncertainty[place] * plan.density[place] == pytest.approx(taken, rel=1e-4)
        assert plan.left[place] == pytest.approx(left[row] / before, rel=1e-4)


def test_one_of_many_alike_comes_before_what_stands_alone():
    random = np.random.default_rng(0)
    crowd = unit(np.array([1.0, 0, 0]) + 0.02 * random.normal(size=(10, 3)))
    candidates = alike(np.vstack([crowd, [[0, 1.0, 0]], [[0, 0, 1.0]]]))
    assert plan_labels(candidates, alike(np.zeros((0, 3))), 3).row[0] < 10
    # By then the crowd is known.
    told = plan_labels(candidates, alike(crowd[:5]), 2)
    assert set(told.row) == {10, 11}


def test_of_two_that_stand_alone_the_one_that_will_sell_comes_first():
    candidates = Placed(np.eye(3, dtype=np.float32), np.array([0.0, 2.0, 1.0], np.float32))
    assert plan_labels(candidates, alike(np.zeros((0, 3))), 3).row.tolist() == [1, 2, 0]


def test_no_more_are_named_than_there_are(shelf):
    candidates, labelled = shelf
    few = Placed(candidates.embedding[:3], candidates.log_demand[:3])
    assert sorted(plan_labels(few, labelled, 9).row) == [0, 1, 2]
