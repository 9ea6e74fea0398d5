import numpy as np
import scipy.sparse as sp

from models.inheritance.variants import variant_groups
from models.interactions import Interactions

LIKE, UNLIKE = [1.0, 0.0], [0.0, 1.0]


def groups(events, terms):
    """Events are (user, item, time); rating is that of the time's sign."""
    user, item, time = np.array(events, np.int64).T
    none = np.zeros((len(user), 0))
    interactions = Interactions(
        user=user.astype(np.int32), item=item.astype(np.int32),
        rating=np.ones(len(user), np.float32), timestamp=time,
        history=none.astype(np.int32), history_rating=none.astype(np.float32),
        propensity=np.full(len(user), np.nan, np.float32),
        span=np.zeros(len(user), np.int32),
    )  # fmt: skip
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


def test_two_shared_events_are_chance():
    assert len(set(groups(bought_together([0, 1], [1, 2]), [LIKE, LIKE]))) == 2


def test_half_of_the_rarer_items_events_have_to_be_shared():
    shared = bought_together([0, 1], [1, 2, 3])
    alone = [(20 + n, item, 20 + n) for n in range(4) for item in (0, 1) for n in (n + 10 * item,)]
    assert len(set(groups(shared + alone, [LIKE, LIKE]))) == 2
    assert len(set(groups(shared + alone[:2], [LIKE, LIKE]))) == 1


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
