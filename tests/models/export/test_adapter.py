"""`adapt_items` and the scores of adapted items, against plain loops over one item and one user."""

from __future__ import annotations

import itertools
import tracemalloc
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from models.export.saved_shelf import save_shelf
from models.shelf import intake
from models.shelf.intake import assign, take_in
from models.shelf.taken_in import NOTHING, FirstInteraction
from tests.models.conftest import EVIDENCE
from tests.models.oracle import ROUNDED
from tests.models.shop import NUM_USERS, SIZE, user_id

UNKNOWN = b"nobody"
USERS = [user_id(user).decode() for user in range(NUM_USERS)]


def histories(served):
    """Users x anchors of 0 and 1."""
    data = served.data
    history = np.zeros((NUM_USERS, len(data.served.anchor_teacher)))
    for user in range(NUM_USERS):
        bought = data.user_items[data.user_offset[user] : data.user_offset[user + 1]]
        anchors = data.served.anchor_of[bought]
        history[user, anchors[anchors >= 0]] = 1
    return history


def expected(served, shop, row, support):
    """New columns of one item from all of its (user or None, time, rating), by the definitions."""
    data, lent = served.data, served.data.served
    (places,), (weights,) = lent.lists(np.array([row]))
    prior = np.maximum(weights.astype(float), 0)
    prior /= prior.sum()
    history = histories(served)
    scores = np.maximum(history @ lent.anchor_teacher, 0)
    active = history.sum(axis=1) > 0
    lean = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12)
    background = lean[active].mean(axis=0)
    users = [user for user, _, _ in support if user is not None]
    posterior = prior.copy()
    for user in users:
        lift = (lean[user] / background + 0.3) / 1.3
        posterior *= lift[places] ** (1 / np.sqrt(len(users)))
    posterior /= posterior.sum()
    count = len(support)
    times = np.arange(len(shop.item) + len(shop.held_out))
    shown = [np.interp(time, times, (times + 0.5) / len(times)) for _, time, _ in support]
    first, last = min(shown), max(shown)
    habits = [np.log1p(history[user].sum()) for user in users]
    features = [
        np.log(count - 1) - np.log(1000 * (last - first) + 1) if count > 1 else 0.0,
        1 - last,
        np.log(1 - last + 0.02),
        data.evidence.expected_share[row],
        np.mean(habits) if habits else 0.0,
        np.mean([rating for _, _, rating in support]),
    ]
    e, k = EVIDENCE, EVIDENCE.count.tolist()
    low = max((i for i, known in enumerate(k) if known <= count), default=0)
    high = min((i for i, known in enumerate(k) if known >= count), default=len(k) - 1)
    part = 0.0 if low == high else np.log(count / k[low]) / np.log(k[high] / k[low])

    def blend(values):
        return (1 - part) * values[low] + part * values[high]

    shifts = [
        np.clip((np.array(features) - e.center[i]) * e.precision[i], -3, 3) @ e.weight[i]
        for i in range(len(k))
    ]
    weight = np.array([blend(e.inherit), blend(e.own)])
    anchors = data.embedding[np.flatnonzero(lent.anchor_of >= 0)[places]].astype(float)
    moved = data.embedding[row].astype(float) + np.clip(weight.sum(), 0, 1) * (
        (posterior - prior) @ anchors
    )
    return {
        "demand": blend(e.level) + blend(shifts),
        "embedding": moved / np.linalg.norm(moved),
        "attention": posterior,
        "weight": weight,
    }


def ask(model, items, supports):
    width = max(map(len, supports))

    def table(place, fill, dtype):
        return tf.constant([[s[place] for s in row] + [fill] * (width - len(row))
                            for row in supports], dtype, [len(items), width])  # fmt: skip

    answer = model.signatures["adapt_items"](
        item_id=tf.constant(items),
        user_id=tf.constant([[UNKNOWN if s[0] is None else user_id(s[0]) for s in row]
                             + [b""] * (width - len(row)) for row in supports],
                            tf.string, [len(items), width]),
        timestamp=table(1, 0, tf.int64),
        rating=table(2, 0.0, tf.float32),
    )  # fmt: skip
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def cold(served):
    """Rows of the items that no interaction mentions."""
    return np.flatnonzero(served.data.served.anchor_of < 0)


SUPPORTS: list[list[tuple[int | None, int, float]]] = [
    [(3, 20, 0.5)],
    [(3, 20, 0.5), (11, 60, 1.0), (None, 90, 0.0)],
    [(None, 100, 0.75)],
    [(user, 10 * user, 0.1 * user) for user in range(10)],
    [(7, 100, 1.0), (7, 100, 1.0)],
]


@pytest.mark.parametrize("support", SUPPORTS)
def test_an_items_new_columns_are_those_of_the_definition(served, shop, model, cold, support):
    answer = ask(model, [served.table.ids[cold[0]], served.table.ids[cold[5]]], [support, []])
    for name, value in expected(served, shop, cold[0], support).items():
        np.testing.assert_allclose(answer[name][0], value, rtol=1e-3, atol=1e-4, err_msg=name)
    assert answer["is_adapted"].tolist() == [True, False]
    # What nobody interacted with stays as it is.
    assert answer["demand"][1] == 0
    stored = served.data.embedding[cold[5]].astype(float)
    np.testing.assert_allclose(answer["embedding"][1], stored, atol=ROUNDED)


def test_after_the_data_the_time_that_is_left_says_nothing(served, model, cold):
    item = served.table.ids[cold[0]]
    one, other = (ask(model, [item], [[(3, time, 0.5)]])["demand"] for time in (10**6, 10**9))
    np.testing.assert_array_equal(one, other)
    assert np.isfinite(one).all()


def test_without_ratings_an_interaction_counts_as_the_best(served, model, cold):
    item = served.table.ids[cold[0]]
    one, other = (ask(model, [item], [[(3, 20, rating)]])["demand"] for rating in (np.nan, 1.0))
    np.testing.assert_array_equal(one, other)


def test_an_item_of_training_and_an_unknown_one(served, model):
    row = np.flatnonzero(served.data.served.anchor_of >= 0)[2]
    answer = ask(model, [served.table.ids[row]], [[(3, 20, 0.5)]])
    assert not answer["is_adapted"][0]
    assert answer["demand"][0] == 0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not in the catalogue.*no-such"):
        ask(model, [b"no-such-item"], [[(3, 20, 0.5)]])


# Taking in.


def interactions(served, supports):
    """By row of the item."""
    return [
        FirstInteraction(
            served.table.ids[row].decode(), "nobody" if user is None else USERS[user], time, rating
        )
        for row, support in supports.items()
        for user, time, rating in support
    ]


def taken(model, served, supports):
    intake = take_in(model, USERS, interactions(served, supports))
    assign(model, intake.columns)
    return intake


def scores(model, users):
    answer = model.signatures["score"](
        user_id=tf.constant(np.repeat([user_id(user) for user in users], SIZE)),
        history=tf.zeros([len(users) * SIZE, 0], tf.string),
        profile=tf.fill([len(users) * SIZE], ""),
        item_id=tf.constant(np.tile(model._shelf.item_id.numpy(), len(users))),
    )
    return answer["score"].numpy().reshape(len(users), SIZE)


def test_an_adapted_items_score_is_the_definition_and_no_other_of_other_users_changes(
    served, shop, model, cold, tmp_path
):
    supports = {cold[0]: SUPPORTS[1], cold[4]: SUPPORTS[3]}
    users = [12, 15, 17, 22]
    before = scores(model, users)
    intake = taken(model, served, supports)
    assert intake.adapted.tolist() == sorted(supports)
    save_shelf(model, served.path, tmp_path / "adapted")
    model = tf.saved_model.load(str(tmp_path / "adapted"))
    after = scores(model, users)
    others = np.setdiff1d(np.arange(SIZE), list(supports))
    np.testing.assert_allclose(after[:, others], before[:, others], rtol=1e-6, atol=1e-6)

    lent = served.data.served
    index, weights = lent.lists(np.arange(SIZE))
    positive = np.maximum(weights.astype(float), 0)
    positive /= positive.sum(axis=1, keepdims=True)
    dense = np.zeros((SIZE, len(lent.anchor_teacher)))
    for row in range(SIZE):
        np.add.at(dense[row], index[row], positive[row])
    history = histories(served)
    for row, support in supports.items():
        new = expected(served, shop, row, support)
        heard = np.zeros(len(lent.anchor_teacher))
        heard[index[row]] = new["attention"]
        for place, user in enumerate(users):
            change, bought = new["demand"], history[user]
            scored = np.maximum(bought @ lent.anchor_teacher, 0)
            for weight, x in zip(new["weight"], (scored, bought), strict=True):
                floor = 0.05 * np.mean(dense[cold] @ x) + 1e-9
                change += weight * np.log((heard @ x + floor) / (dense[row] @ x + floor))
            assert after[place, row] - before[place, row] == pytest.approx(change, abs=2e-3)
    # `recommend` and `score` agree, and a supporter is not offered the item again.
    answer = model.signatures["recommend"](
        user_id=tf.constant([user_id(3), user_id(30)]), history=tf.zeros([2, 0], tf.string),
        profile=tf.constant(["", ""]), k=tf.constant(SIZE), new_only=tf.constant(False),
    )  # fmt: skip
    lists: list[dict[bytes, float]] = [
        dict(zip(ids, found, strict=True))
        for ids, found in zip(answer["item_id"].numpy(), answer["score"].numpy(), strict=True)
    ]
    ids = served.table.ids.tolist()
    assert ids[cold[0]] not in lists[0]
    for row in supports:
        assert lists[1][ids[row]] == pytest.approx(scores(model, [30])[0, row], rel=1e-4)


def test_interactions_in_two_parts_count_as_all_at_once(served, as_saved, cold):
    whole = {cold[0]: SUPPORTS[3], cold[4]: SUPPORTS[1], cold[2]: SUPPORTS[2]}
    first = {cold[0]: SUPPORTS[3][4:], cold[4]: SUPPORTS[1][:1]}
    second = {cold[0]: SUPPORTS[3][:4], cold[4]: SUPPORTS[1][1:], cold[2]: SUPPORTS[2]}

    def made_of(*parts):
        model = as_saved()
        for part in parts:
            taken(model, served, part)
        embedding = model._shelf.embedding.numpy().astype(float)
        return scores(model, [5, 6, 8]), embedding, model._shelf.user_items.numpy()

    once, twice = made_of(whole), made_of(first, second)
    np.testing.assert_allclose(twice[0], once[0], atol=1e-4)
    np.testing.assert_allclose(twice[1], once[1], atol=ROUNDED)
    np.testing.assert_array_equal(twice[2], once[2])


def test_purchases_are_noted_of_known_users_and_also_of_items_of_training(served, model):
    offset, anchors = served.data.user_offset, np.flatnonzero(served.data.served.anchor_of >= 0)
    bought = set(served.data.user_items[offset[4] : offset[5]].tolist())
    row, new = min(bought), int(next(r for r in anchors if r not in bought))
    intake = taken(model, served, {new: [(4, 20, 1.0), (None, 30, 1.0)], row: [(4, 10, 1.0)]})
    assert not len(intake.adapted) and set(intake.of_training) == {new, row}
    offset = model._shelf.user_offset.numpy()
    now = set(model._shelf.user_items.numpy()[offset[4] : offset[5]].tolist())
    assert now == bought | {new, row}
    assert offset[-1] == len(model._shelf.user_items.numpy())


def purchases_on(model):
    """Of each user on the shelf, rows with their ratings in order."""
    shelf = model._shelf
    items, ratings = shelf.user_items.numpy().tolist(), shelf.user_rating.numpy().tolist()
    bounds = itertools.pairwise(shelf.user_offset.numpy().tolist())
    return [list(zip(items[a:b], ratings[a:b], strict=True)) for a, b in bounds]


def in_order_of_rows(columns):
    """Columns of evidence stand in the order in which the items were first heard of."""
    order, of = np.argsort(columns["evidence.row"]), columns["evidence.of"]
    np.testing.assert_array_equal(columns["evidence.row"][of[of >= 0]], np.flatnonzero(of >= 0))
    kept = {f"evidence.{name}" for name in ("row", "text", *intake._ANSWERED)}
    return {
        name: values[order] if name in kept else values
        for name, values in columns.items() if name != "evidence.of"
    }  # fmt: skip


@pytest.mark.parametrize(("batch", "heard", "asked"), [(2, 100, 3), (512, 6, 4), (512, 2, 8)])
def test_items_are_heard_a_few_at_a_time_however_many_interactions_they_have(
    served, model, cold, monkeypatch, batch, heard, asked
):
    supports = {row: [(user, 10 + user, 1.0) for user in range(count)]
                for row, count in zip(cold, (1, 1, 2, 3, 7), strict=False)}  # fmt: skip
    given = interactions(served, supports)
    together = take_in(model, USERS, given)
    adapt = mock.Mock(wraps=intake._adapt)
    monkeypatch.setattr(intake, "_adapt", adapt)
    monkeypatch.setattr(intake, "_BATCH", batch)
    monkeypatch.setattr(intake, "_HEARD", heard)
    apart = take_in(model, USERS, given)
    assert adapt.call_count == asked
    for (_, groups), _ in adapt.call_args_list:
        assert len(groups) <= batch and len(groups) * max(map(len, groups.values())) <= heard
    assert apart.adapted.tolist() == together.adapted.tolist()
    expected = in_order_of_rows(together.columns)
    for name, values in in_order_of_rows(apart.columns).items():
        # Embeddings are rounded to 16 bits.
        one, other = (column.astype(np.float64) for column in (values, expected[name]))
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4, err_msg=name)


def test_a_users_later_purchases_stand_behind_the_earlier_ones_which_stay_as_they_are(
    served, model
):
    expected = purchases_on(model)
    (again, rated), last = expected[3][0], NUM_USERS - 1
    lacked = [min({*range(SIZE)} - {row for row, _ in had}) for had in expected]
    one, two, three = sorted({*range(SIZE)} - {row for row, _ in expected[3]})[:3]
    said = [
        (3, one, 70, 1.0), (3, two, 40, 0.25), (3, three, 50, 0.5), (3, three, 55, 0.75),
        (3, again, 60, 1.0 - rated), (0, lacked[0], 9, 0.5), (last, lacked[last], 1, 0.25),
    ]  # fmt: skip
    given = [
        FirstInteraction(served.table.ids[row].decode(), USERS[user], time, rating)
        for user, row, time, rating in said
    ]
    intake = take_in(model, USERS, given)
    assign(model, intake.columns)
    expected[3] += [(two, 0.25), (three, 0.75), (one, 1.0)]
    expected[0].append((lacked[0], 0.5))
    expected[last].append((lacked[last], 0.25))
    assert purchases_on(model) == expected
    assert [3, again] in intake.pairs.tolist()
    assert model._shelf.user_items.numpy().dtype == np.int32
    assert model._shelf.user_offset.numpy().dtype == np.int64


def test_a_purchase_that_comes_again_counts_from_its_latest_as_in_a_run(served, model):
    [(one, _), (two, rated), *rest] = purchases_on(model)[3]
    end = int(model._shelf.evidence.clock_time.numpy()[-1])
    ids = {row: served.table.ids[row].decode() for row in (one, two)}
    others = [had for user, had in enumerate(purchases_on(model)) if user != 3]

    def given(*said):
        return [FirstInteraction(ids[row], USERS[3], *when) for row, *when in said]

    first = given((one, end + 5, 0.75), (one, end + 5, 0.25), (one, end + 3, 1.0), (two, end, 0.0))
    taken = take_in(model, USERS, first)
    assign(model, taken.columns)
    # By when the data end nobody knows which of the two was the later one.
    assert purchases_on(model)[3] == [(two, rated), *rest, (one, 0.75)]
    second = given((one, end + 4, 0.5), (two, end + 9, 0.5))
    assign(model, take_in(model, USERS, second, before=NOTHING.with_more(taken.fresh)).columns)
    assert purchases_on(model)[3] == [*rest, (one, 0.75), (two, 0.5)]
    assert [had for user, had in enumerate(purchases_on(model)) if user != 3] == others


def test_a_row_is_taken_in_with_no_python_object_for_each_purchase_that_is_there(served, model):
    shelf, users = model._shelf, 10_000
    many = users * SIZE // 2
    given = interactions(served, {0: [(4, 10, 1.0)]})
    take_in(model, USERS, given)  # what only the first call needs
    shelf.user_items.assign(np.tile(np.arange(0, SIZE, 2, np.int32), users))
    shelf.user_rating.assign(np.ones(many, np.float32))
    shelf.user_offset.assign(np.arange(0, many + 1, SIZE // 2))
    tracemalloc.start()
    try:
        take_in(model, USERS, given)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # An index of them by item takes some 50 bytes for each, a tuple in a set 177.
    assert most < 100 * many
