"""Items of few words take over their category's mean score."""

import numpy as np

from models.inheritance.aligner import Aligned
from models.inheritance.back_off import BackOff
from models.rules import NO_GROUP

TEA, CUPS, KITCHEN, GARDEN = 11, 12, 13, 14
#                    anchors: tea, tea, cups, cups, cups, garden, none
ANCHORS = np.array(
    [[TEA, KITCHEN], [TEA, KITCHEN], [CUPS, KITCHEN], [CUPS, KITCHEN], [CUPS, KITCHEN],
     [GARDEN, NO_GROUP], [NO_GROUP, NO_GROUP]]
)  # fmt: skip
LOG_POPULARITY = np.array([0.5, 2.0, 1.0, 3.0, -1.0, 9.0, 9.0], np.float32)


def backed_off(level, least, width=4):
    rng = np.random.default_rng(0)
    aligned = Aligned(
        rng.integers(0, 7, (1, width)).astype(np.int32),
        rng.normal(size=(1, width)).astype(np.float32),
        np.array([7.0], np.float32),
        np.zeros((7, 1), np.float32),
    )
    back_off = BackOff(ANCHORS, LOG_POPULARITY)
    return aligned, back_off(aligned, np.array([level]), np.array([least], np.int32))


def lent(found):
    """Anchor to its weight."""
    pairs = zip(found.anchor[0].tolist(), found.weight[0].tolist(), strict=True)
    return {anchor: weight for anchor, weight in pairs if weight}


def test_the_nearest_category_with_enough_sold_speaks():
    before, found = backed_off([TEA, KITCHEN], 2)
    assert lent(found) == {0: 0.5, 1: 0.5}
    assert found.log_popularity[0] == np.float32(1.25)
    assert lent(before) != lent(found) and before.log_popularity[0] == 7.0, "stays as it was"


def test_above_it_the_most_popular_are_asked_as_many_as_there_is_room():
    _, found = backed_off([TEA, KITCHEN], 3)
    assert lent(found) == {3: 0.25, 1: 0.25, 2: 0.25, 0: 0.25}
    assert found.log_popularity[0] == np.float32((3.0 + 2.0 + 1.0 + 0.5) / 4)


def test_an_item_with_words_enough_or_in_no_category_keeps_its_own():
    for level, least in (([TEA, KITCHEN], 0), ([NO_GROUP, NO_GROUP], 2), ([GARDEN, NO_GROUP], 2)):
        before, found = backed_off(level, least)
        np.testing.assert_array_equal(found.anchor, before.anchor)
        np.testing.assert_array_equal(found.weight, before.weight)
        assert found.log_popularity[0] == 7.0


def test_a_category_that_is_not_sold_asks_the_one_above():
    _, found = backed_off([99, CUPS], 1)
    assert set(lent(found)) == {2, 3, 4}


def test_of_anchors_that_are_as_popular_the_first_ones_speak():
    popularity = np.tile(np.array([1.0, 2.0], np.float32), 100)
    back_off = BackOff(np.full((200, 1), TEA), popularity)
    none = np.zeros((1, 4), np.float32)
    aligned = Aligned(none.astype(np.int32), none, none[:, 0], none)
    found = back_off(aligned, np.array([[TEA]]), np.array([1], np.int32))
    assert found.anchor.tolist() == [[1, 3, 5, 7]]
