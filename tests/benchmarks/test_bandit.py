"""A shop cut in two by time, and what its customers may still buy in the replay."""

import csv
from collections import Counter

import numpy as np
import pytest

from benchmarks.bandit import Replay, Visit, _batches, _World, cut
from benchmarks.cold_split import draw_new_items
from components.ingestion.folder import open_folder
from models.errors import BadInput
from serving.feedback.events import Shown
from tests.benchmarks.shop import read, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    data, train = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out") / "train"
    write_shop(data)
    return data, train, cut(data, train, seed=7)


def test_training_sees_neither_the_second_half_nor_the_drawn_items(shop):
    data, train, replay = shop
    assert open_folder(train).span == 0
    new = draw_new_items(data, seed=7).new
    every = read(data / "interactions.csv")
    left = sorted(int(row["timestamp"]) for row in every if row["item_id"] not in new)
    trained = read(train / "interactions.csv")
    middle = np.median(left)
    assert new and not {row["item_id"] for row in trained} & new
    assert len(trained) == sum(time < middle for time in left)
    assert max(int(row["timestamp"]) for row in trained) < middle
    later = [row for row in every if int(row["timestamp"]) >= middle]
    assert Counter((v.user, item) for v in replay.visits for item in v.bought) == Counter(
        (row["user_id"], row["item_id"]) for row in later
    )
    assert len(read(train / "items.csv")) == len(read(data / "items.csv"))


def test_histories_are_what_training_saw(shop):
    _, train, replay = shop
    known: dict[str, list[str]] = {}
    for row in sorted(read(train / "interactions.csv"), key=lambda row: int(row["timestamp"])):
        known.setdefault(row["user_id"], []).append(row["item_id"])
    assert replay.history == known


def test_a_shop_without_time_is_refused(tmp_path):
    write_shop(tmp_path)
    rows = read(tmp_path / "interactions.csv")
    with (tmp_path / "interactions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"timestamp": "1000"} for row in rows)
    with pytest.raises(BadInput, match="one moment"):
        cut(tmp_path, tmp_path / "train", seed=7)


def test_a_purchase_counts_once_whether_a_list_or_the_customer_brought_it():
    visits = [Visit("ann", ("a", "b")), Visit("ben", ("c",)), Visit("ann", ("c", "d"))]
    world = _World(Replay(visits, {"ann": ["z"]}))

    def shown(*items):
        return [Shown(item=item, propensity=1.0) for item in items]

    first = world.bought_of(0, shown("d", "b", "x"))
    assert world.asked(0) == ("z",) and first == {"d", "b"}
    world.end(0, first)
    assert world.bought_of(1, shown("a", "c")) == {"c"}
    world.end(1, frozenset())
    assert world.asked(2) == ("z", "b", "d", "a")
    assert world.bought_of(2, shown("a", "b", "c", "d")) == {"c"}


def test_a_batch_holds_a_customer_once_and_all_visits_come_in_their_order():
    users = ["a", "b", "a", "c", "c", "b", "d"]
    visits = [Visit(user, ()) for user in users]
    batches = list(_batches(visits, range(1, 7)))
    assert [number for batch in batches for number in batch] == list(range(1, 7))
    assert [[users[number] for number in batch] for batch in batches] == [
        ["b", "a", "c"], ["c", "b", "d"],
    ]  # fmt: skip
