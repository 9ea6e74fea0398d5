"""The gate before a changed catalogue, asked of models that answer from tables."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from components.catalogue.gate import Gate
from models.errors import Refused
from models.shelf.taken_in import FirstInteraction

USERS, ITEMS = ["ann", "bob", "eve"], ["a", "b", "c", "d"]


@dataclass
class Table:
    """A score for each item, and the same list for everybody; of some users other ones."""

    score: dict[str, float]
    listed: list[str] = field(default_factory=list)
    similar: list[str] = field(default_factory=list)
    scores_of: dict[str, dict[str, float]] = field(default_factory=dict)
    lists_of: dict[str, list[str]] = field(default_factory=dict)

    def scores(self, users, items):
        pairs = zip(users, items, strict=True)
        return np.array([self.scores_of.get(u, self.score)[i] for u, i in pairs], np.float32)

    def lists(self, users, k):
        return [self.lists_of.get(user, self.listed) for user in users]

    def alike(self, items, k):
        return [self.similar for _ in items]


def score(**changes):
    return {item: float(place) for place, item in enumerate(ITEMS)} | changes


def gate(interactions=(), users=USERS, touched=()):
    return Gate(
        Table(score()), users=users, items=ITEMS, named=["d"], touched=touched,
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


def test_the_one_buyer_among_very_many_users_is_not_offered_the_purchase():
    users = [f"user-{number}" for number in range(100)]
    for buyer in users:
        asked = gate([FirstInteraction("d", buyer, 5, 1.0)], users)
        with pytest.raises(Refused, match="item d to a user who has bought it"):
            asked.check(Table(score(), lists_of={buyer: ["d"]}), unavailable=[])


def test_of_32_users_no_one_s_score_may_change():
    users = [f"user-{number}" for number in range(32)]
    for user in users:
        with pytest.raises(Refused, match="no file names changed"):
            gate(users=users).check(Table(score(), scores_of={user: score(b=2.0)}), unavailable=[])


def test_a_score_may_differ_by_a_ten_thousandth():
    gate().check(Table(score(b=1.00009)), unavailable=[])
    with pytest.raises(Refused, match=r"no file names changed by 0\.00011"):
        gate().check(Table(score(b=1.00011)), unavailable=[])


def test_whose_history_changes_may_have_other_scores_and_nobody_else_may():
    bought = [FirstInteraction("d", "ann", 5, 1.0)]
    asked = gate(bought, touched=["bob"])
    other = {user: score(b=7.0) for user in USERS}
    asked.check(
        Table(score(), listed=["c"], scores_of={user: other[user] for user in ("ann", "bob")}), []
    )
    with pytest.raises(Refused, match="no file names changed"):
        asked.check(Table(score(), listed=["c"], scores_of=other), [])


@pytest.mark.parametrize(
    "table",
    [
        Table(score(), listed=["a", "c"]),
        Table(score(), similar=["a", "c"]),
        Table(score(), lists_of={"": ["a", "c"]}),
    ],
    ids=["to everybody", "beside an item", "to somebody unknown"],
)
def test_an_item_that_is_not_available_is_offered_nowhere(table):
    with pytest.raises(Refused, match="item c, which is not available"):
        gate().check(table, unavailable=["c"])
