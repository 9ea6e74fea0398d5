import functools
import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.ingestion.histories import histories
from components.ingestion.splits import Event
from models.interactions import PAD, Interactions, Purchases, read_interactions
from models.shop_data import ShopData
from tests.models.shop import interaction

ITEM_IDS = np.array([b"a", b"b", b"007", b"\xe7\xba\xa2"], object)


example = functools.partial(interaction, propensity=())


def write(file, examples):
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as out:
        for serialized in examples:
            out.write(serialized)
    return str(file)


@pytest.fixture
def read(tmp_path):
    def run(history_length=3, **splits):
        files = {
            split: [write(tmp_path / f"{split}.gz", examples)] for split, examples in splits.items()
        }
        return read_interactions(files, ITEM_IDS, history_length)

    return run


def test_ids_become_rows_of_the_item_table_and_of_one_user_list(read):
    splits, users = read(
        train=[example(b"u2", b"007", rating=0.25, time=5), example(b"u1", b"a", time=3)],
        eval=[example(b"u2", b"\xe7\xba\xa2", time=9), example(b"u0", b"b", time=1)],
    )
    assert users.ids.tolist() == [b"u0", b"u1", b"u2"]
    assert users.ids[splits["train"].user].tolist() == [b"u2", b"u1"]
    assert users.ids[splits["eval"].user].tolist() == [b"u2", b"u0"]
    assert splits["train"].item.tolist() == [2, 0]
    assert splits["eval"].item.tolist() == [3, 1]
    assert splits["train"].rating.tolist() == [0.25, 1.0]
    assert splits["train"].timestamp.tolist() == [5, 3]


def test_a_propensity_is_read_where_one_was_logged(read):
    rows = [
        example(b"u", b"a", propensity=[0.25]),
        example(b"u", b"b", propensity=()),
        example(b"u", b"007", propensity=None),
    ]
    splits, _ = read(train=rows)
    np.testing.assert_array_equal(splits["train"].propensity, [0.25, np.nan, np.nan])


def test_a_history_keeps_its_Purchases_in_order_with_their_ratings(read):
    splits, _ = read(
        train=[
            example(b"u", b"a", history=[b"a", b"b", b"007", b"b"], ratings=[0.1, 0.2, 0.3, 0.4]),
            example(b"u", b"a", history=[b"b"], ratings=[0.5]),
            example(b"u", b"a"),
        ]
    )
    train = splits["train"]
    assert train.history.tolist() == [[1, 2, 1], [1, PAD, PAD], [PAD] * 3]
    np.testing.assert_allclose(
        train.history_rating, np.array([[0.2, 0.3, 0.4], [0.5, 0, 0], [0, 0, 0]])
    )


def test_an_item_that_left_the_catalogue_is_padding_in_a_history(read):
    splits, _ = read(train=[example(b"u", b"a", history=[b"gone", b"b"])])
    assert splits["train"].history.tolist() == [[PAD, 1, PAD]]


def test_an_empty_split_has_the_shapes_of_a_full_one(read):
    splits, users = read(train=[example(b"u", b"a", profile=b"age: 3.")], new_items=[])
    assert len(splits["new_items"]) == 0
    assert splits["new_items"].history.shape == (0, 3)
    assert users.profiles.tolist() == [b"age: 3."]


def test_every_rating_1_is_implicit_feedback_and_any_other_is_not(read):
    splits, _ = read(train=[example(b"u", b"a")], eval=[example(b"u", b"a", rating=0.5)])
    assert splits["train"].is_implicit
    assert not splits["eval"].is_implicit


def test_a_shop_has_ratings_where_any_split_has_another_than_the_highest(read):
    nothing: Any = None
    best = [example(b"u", b"a")]
    for later, is_implicit in ((best, True), ([example(b"u", b"a", rating=0.5)], False)):
        splits, users = read(train=best, eval=later)
        shop = ShopData(nothing, splits, users, train=nothing, everything=nothing, groups=nothing)
        assert shop.is_implicit == is_implicit


def interactions(rows):
    user, item, rating, time = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        rating=rating.astype(np.float32),
        timestamp=time.astype(np.int64),
        history=np.zeros((len(rows), 1), np.int32),
        history_rating=np.zeros((len(rows), 1), np.float32),
        propensity=np.full(len(rows), np.nan, np.float32),
        span=np.zeros(len(rows), np.int32),
    )


def purchases_by_hand(parts, num_users):
    """A user's items by their last time, oldest first; of equal times the lower row is later."""
    found = []
    for user in range(num_users):
        last: dict[int, tuple[int, float]] = {}
        for part in parts:
            for who, item, rating, time in zip(
                part.user, part.item, part.rating, part.timestamp, strict=True
            ):
                if who == user and (item not in last or time > last[item][0]):
                    last[item] = (time, rating)
        oldest = sorted(last, key=lambda item: (last[item][0], -item))
        found.append([(item, pytest.approx(last[item][1])) for item in oldest])
    return found


def listed(purchases):
    return [
        list(zip(purchases.item[start:end].tolist(), purchases.rating[start:end], strict=True))
        for start, end in itertools.pairwise(purchases.offset)
    ]


def test_purchases_are_different_items_over_all_splits_oldest_first():
    random = np.random.default_rng(2)
    times = random.permutation(400)
    drawn = [
        (random.integers(8), random.integers(15), random.random(), times[place])
        for place in range(120)
    ]
    parts = [interactions(drawn[:70]), interactions(drawn[70:])]
    found = listed(Purchases.of(parts, 9))
    assert found == purchases_by_hand(parts, 9)
    assert found[8] == [], "a user without interactions"


def test_a_users_purchases_of_one_moment_do_not_depend_on_the_order_of_rows():
    rows = [(0, item, 1.0, 7) for item in (4, 1, 3, 2)]
    one, other = (Purchases.of([interactions(order)], 1) for order in (rows, rows[::-1]))
    assert one.item.tolist() == other.item.tolist()


@pytest.mark.parametrize("turned", [False, True])
def test_of_an_items_ratings_at_one_second_a_user_keeps_the_highest_as_histories_do(turned):
    rows = [(0, item, rating, 7) for item in (2, 1) for rating in (0.2, 0.8, 0.5)]
    rows += [(0, 1, 1.0, 6), (0, 3, 0.1, 9)]
    found = Purchases.of([interactions(rows[::-1] if turned else rows)], 1)
    events = sorted(
        Event(timestamp=time, item=str(item), rating=rating, is_held_out=False, file=0)
        for _, item, rating, time in [*rows, (0, 4, 1.0, 10)]
    )
    history = dict(histories(events, length=9)[-1])
    kept = dict(zip(map(str, found.item), found.rating.tolist(), strict=True))
    assert kept == pytest.approx({"1": 0.8, "2": 0.8, "3": 0.1}) == history
