"""Whom an audience is compared with, and whose root it can be counted on."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.audience import (
    BY_HABIT,
    BY_ITEM,
    BY_SCORE,
    BY_TITLE,
    Ranked,
    _buyers_of_new,
    orders,
)
from models.errors import BadInput
from pipeline.demo import Sample


def test_the_two_parts_of_an_audiences_score_order_the_same_users():
    habits = {"much": 99, "some": 9, "little": 1}
    # Of what is added to these, log(1 + items), "much" has the most and "little" the least.
    score = {"much": -4.0, "some": -3.0, "little": -1.0}
    total = {user: score[user] + np.log1p(habits[user]) for user in score}
    ordered = sorted(total, key=total.__getitem__, reverse=True)
    item = Ranked(ordered, np.array([total[user] for user in ordered], np.float32))
    found = orders(item, Ranked(["some", "little", "much"], np.zeros(3, np.float32)), habits)
    assert found == {
        BY_ITEM: ordered,
        BY_TITLE: ["some", "little", "much"],
        BY_SCORE: ["little", "some", "much"],
        BY_HABIT: ["much", "some", "little"],
    }


def model(items, new):
    shelf = {"item_id": np.array(items, object), "is_new": new, "user_id": np.array([b"u"], object)}
    return SimpleNamespace(
        _shelf=SimpleNamespace(**{name: tf.constant(value) for name, value in shelf.items()})
    )


SAMPLE = Sample(
    titles={"a": "A", "b": "B", "c": "C"},
    bought={"ann": ["a"]},
    hidden={"ann": frozenset("bc"), "bob": frozenset("c")},
)


def test_buyers_are_those_who_are_hidden_and_products_nobody_bought_are_left_out():
    found = _buyers_of_new(model([b"a", b"b", b"c"], [True, False, True]), SAMPLE)
    assert found == {"c": {"ann", "bob"}}


@pytest.mark.parametrize("items", [[b"x", b"b", b"c"], [b"a", b"x", b"x"]])
def test_another_shops_root_is_refused(items):
    with pytest.raises(BadInput, match="another shop"):
        _buyers_of_new(model(items, [True, False, False]), SAMPLE)
