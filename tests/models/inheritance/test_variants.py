import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance.variants import variant_groups
from models.interactions import Interactions

LIKE, UNLIKE = [1.0, 0.0], [0.0, 1.0]


def made(user, item, time, rating):
    """Interactions of which nothing else is known."""
    none = np.zeros((len(user), 0))
    return Interactions(
        user=user.astype(np.int32), item=item.astype(np.int32),
        rating=rating.astype(np.float32), timestamp=time,
        history=none.astype(np.int32), history_rating=none.astype(np.float32),
        propensity=np.full(len(user), np.nan, np.float32),
        span=np.zeros(len(user), np.int32),
    )  # fmt: skip


def groups(events, terms):
    """Events are (user, item, time), each with the best rating."""
    user, item, time = np.array(events, np.int64).T
    interactions = made(user, item, time, np.ones(len(user)))
    return variant_groups(interactions, sp.csr_matrix(terms)).tolist()


def bought_together(items, times):
    return [(time, item, time) for time in times for item in items]


def test_items_with_the_same_events_and_like_words_are_variants():
    found = groups([*bought_together([0, 1], [1, 2, 3]), (9, 2, 9)], [LIKE] * 3)
    assert found[0] == found[1] != found[2]


def test_variants_of_variants_are_one_group():
    events = bought_together([0, 1], [1, 2, 3]) + bought_together([1, 2], [4, 5, 6])
    assert len(set(groups(events, [LIKE] * 3))) == 1


def test_the_same_baskets_alone_make_no_variants():
    assert len(set(groups(bought_together([0, 1], [1, 2, 3]), [LIKE, UNLIKE]))) == 2


@pytest.mark.parametrize(("cosine", "number"), [(0.29, 2), (0.31, 1)])
def test_words_are_like_from_a_cosine_of_three_tenths_on(cosine, number):
    terms = [LIKE, [cosine, (1 - cosine**2) ** 0.5]]
    assert len(set(groups(bought_together([0, 1], [1, 2, 3]), terms))) == number


def test_two_shared_events_are_chance():
    assert len(set(groups(bought_together([0, 1], [1, 2]), [LIKE, LIKE]))) == 2


def test_a_shop_that_noted_one_moment_for_everything_tells_no_variants():
    events = [(user, item, 7) for user in range(9) for item in range(4)]
    assert len(set(groups(events, [LIKE] * 4))) == 4
    assert len(set(groups([*events, (9, 0, 8)], [LIKE] * 4))) == 1


def test_half_of_the_rarer_items_events_have_to_be_shared():
    shared = bought_together([0, 1], [1, 2, 3])
    alone = [(20 + n, item, 20 + n) for n in range(4) for item in (0, 1) for n in (n + 10 * item,)]
    assert len(set(groups(shared + alone, [LIKE, LIKE]))) == 2
    assert len(set(groups(shared + alone[:2], [LIKE, LIKE]))) == 1


def test_events_are_the_same_where_user_time_and_rating_all_are():
    random, items = np.random.default_rng(5), 24
    user, time = random.integers(5, size=(2, 500))
    item, rating = random.integers(items, size=500), random.integers(3, size=500) / 2
    events: list[set[tuple[int, int, float]]] = [set() for _ in range(items)]
    for row, event in zip(item, zip(user, time, rating, strict=True), strict=True):
        events[row].add(event)
    expected = [{row} for row in range(items)]
    for one in range(items):
        for other in range(one):
            shared = len(events[one] & events[other])
            if shared >= max(3, min(len(events[one]), len(events[other])) / 2):
                together = expected[one] | expected[other]
                for row in together:
                    expected[row] = together
    found = variant_groups(made(user, item, time, rating), sp.csr_matrix([LIKE] * items))
    assert [set(np.flatnonzero(found == found[row])) for row in range(items)] == expected
    assert 1 < len(set(found.tolist())) < items


def test_many_interactions_take_a_few_numbers_each():
    random, many, items = np.random.default_rng(6), 100_000, 1000
    user, time = random.integers(many, size=(2, many))
    given = made(user, random.integers(items, size=many), time, random.random(many))
    terms = sp.csr_matrix([LIKE] * items)
    variant_groups(given, terms)
    tracemalloc.start()
    try:
        variant_groups(given, terms)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 10 * many, "rows of all three columns, sorted as bytes, take twice that"


def test_without_any_interaction_every_item_is_its_own_group():
    empty = np.zeros(0, np.int64)
    interactions = Interactions(
        user=empty.astype(np.int32), item=empty.astype(np.int32),
        rating=empty.astype(np.float32), timestamp=empty,
        history=np.zeros((0, 0), np.int32), history_rating=np.zeros((0, 0), np.float32),
        propensity=empty.astype(np.float32),
        span=empty.astype(np.int32),
    )  # fmt: skip
    assert len(set(variant_groups(interactions, sp.csr_matrix(np.ones((3, 2)))).tolist())) == 3
