"""The gate before a changed catalogue, asked of models that answer from tables."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from components.catalogue.gate import Gate
from models.errors import Refused
from models.shelf.intake import FirstInteraction

USERS, ITEMS = ["ann", "bob", "eve"], ["a", "b", "c", "d"]


@dataclass
class Table:
    """A score for each item, and the same list for everybody."""

    score: dict[str, float]
    listed: list[str] = field(default_factory=list)
    similar: list[str] = field(default_factory=list)

    def scores(self, users, items):
        return np.array([self.score[item] for item in items], np.float32)

    def lists(self, users, k):
        return [self.listed for _ in users]

    def alike(self, items, k):
        return [self.similar for _ in items]


def score(**changes):
    return {item: float(place) for place, item in enumerate(ITEMS)} | changes


def gate(interactions=()):
    return Gate(
        Table(score()), users=USERS, items=ITEMS, named=["d"], anchors=["a"],
        interactions=interactions,
    )  # fmt: skip


def test_items_that_a_file_names_may_change_and_others_may_not():
    gate().check(Table(score(d=9.0), listed=["a", "d"]), unavailable=["b"])
    for changed in (1.1, float("nan")):
        with pytest.raises(Refused, match="no file names changed"):
            gate().check(Table(score(b=changed)), unavailable=[])


def test_a_buyer_is_not_offered_the_purchase():
    bought = [FirstInteraction("d", "ann", 5, 1.0), FirstInteraction("d", "nobody", 5, 1.0)]
    gate(bought).check(Table(score(), listed=["a"]), unavailable=[])
    with pytest.raises(Refused, match="item d to a user who has bought it"):
        gate(bought).check(Table(score(), listed=["d"]), unavailable=[])


def test_whoever_bought_an_item_of_training_may_be_told_anything():
    bought = [FirstInteraction("a", user, 5, 1.0) for user in USERS]
    gate(bought).check(Table(score(b=7.0), listed=["a"]), unavailable=[])


@pytest.mark.parametrize("place", ["listed", "similar"])
def test_an_item_that_is_not_available_is_offered_nowhere(place):
    with pytest.raises(Refused, match="item c, which is not available"):
        gate().check(Table(score(), **{place: ["a", "c"]}), unavailable=["c"])
