"""A made-up shop whose users say what they think of everything, and what a policy brings of it."""

import csv
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.propensities import evenly_drawn, write_exposed_shop
from models.interactions import PAD, Interactions, Users


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposed") / "shop"
    truth = write_exposed_shop(folder, 5)
    with (folder / "interactions.csv").open(newline="") as file:
        return truth, list(csv.DictReader(file))


def test_what_is_rated_was_shown_as_often_as_the_log_says(shop):
    truth, rows = shop
    for row in rows:
        place = int(row["user_id"][1:]), int(row["item_id"][1:])
        assert int(row["rating"]) == truth.rating[place]
        assert float(row["propensity"]) == pytest.approx(truth.propensity[place])
    for stars in range(1, 6):
        told = [float(row["propensity"]) for row in rows if int(row["rating"]) == stars]
        shown = len(told) / (truth.rating == stars).sum()
        assert shown == pytest.approx(told[0], rel=0.15)


def test_what_was_shown_flatters_the_shop_and_its_inverse_propensities_put_that_right(shop):
    truth, rows = shop
    rating = np.array([float(row["rating"]) for row in rows])
    weight = 1 / np.array([float(row["propensity"]) for row in rows])
    assert rating.mean() > truth.rating.mean() + 0.5
    assert np.average(rating, weights=weight) == pytest.approx(truth.rating.mean(), abs=0.1)


def test_pairs_are_new_to_training_and_are_predicted_from_the_latest_of_it(shop):
    truth, _ = shop
    # Three users and items of the shop, in another order than its own.
    train = Interactions(
        user=np.array([0, 0, 0, 1], np.int32), item=np.array([0, 1, 2, 2], np.int32),
        rating=np.array([0.25, 0.5, 0.75, 1.0], np.float32), timestamp=np.array([9, 7, 8, 1]),
        history=np.zeros((4, 0), np.int32), history_rating=np.zeros((4, 0), np.float32),
        propensity=np.ones(4, np.float32), span=np.zeros(4, np.int32),
    )  # fmt: skip
    ids = [np.array(names, object) for names in ([b"u7", b"u3", b"u9"], [b"i4", b"i0", b"i2"])]
    data: Any = SimpleNamespace(
        splits={"train": train}, users=Users(ids[0], ids[0]), table=Table(ids[1])
    )
    even = evenly_drawn(data, truth, 1, history_length=2)
    pairs = set(zip(even.user.tolist(), even.item.tolist(), strict=True))
    assert pairs == {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)} and len(even) == 5
    history = {0: [2, 0], 1: [2, PAD], 2: [PAD, PAD]}
    for user, item, rating, earlier in zip(
        even.user, even.item, even.rating, even.history.tolist(), strict=True
    ):
        stars = truth.rating[[7, 3, 9][user], [4, 0, 2][item]]
        assert rating == pytest.approx((stars - 1) / 4)
        assert earlier == history[user]


class Table(SimpleNamespace):
    """As much of an item table as is looked at."""

    def __init__(self, ids):
        super().__init__(ids=ids)

    def __len__(self):
        return len(self.ids)
