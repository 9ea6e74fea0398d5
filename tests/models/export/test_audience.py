"""The audience of an item: scores recomputed for each user, and who may not be in it."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from models.export import audience
from models.export.audience import NEIGHBOURS
from models.shelf.intake import assign, take_in
from tests.models.conftest import known_history
from tests.models.export.test_adapter import interactions
from tests.models.shop import NUM_USERS, SIZE, item_id, user_id

EVERYBODY = NUM_USERS + 5
TEXTS = ("title", "category", "brand", "description")
USERS = [user_id(user).decode() for user in range(NUM_USERS)]


def inputs(items=(), products=(), k=EVERYBODY):
    rows = [{"item_id": item} for item in items] + list(products)
    texts = {
        name: tf.constant([row.get(name, b"") for row in rows]) for name in ("item_id", *TEXTS)
    }
    price = tf.constant([row.get("price", np.nan) for row in rows], tf.float32)
    return {**texts, "price": price, "k": tf.constant(k)}


def user_of(answer, place=0):
    return [int(user[-3:]) for user in answer["user_id"][place] if user]


@pytest.fixture(scope="module")
def expected(served, oracle):
    """Scores by user and row: the retrieval score, and how much the user buys."""
    histories = [known_history(served, user) for user in range(NUM_USERS)]
    return np.array([oracle.logits(h) + np.log1p(len(h)) for h in histories])


@pytest.mark.parametrize("number", [3, 9, 18, 59])  # seen, new, held out, new
def test_an_audience_is_everybody_by_score_and_habit_but_the_buyers(
    served,
    expected,
    row_of,
    bought,
    number,
):
    row = row_of[item_id(number)]
    answer = served("audience", **inputs([item_id(number)]))
    found = user_of(answer)
    assert sorted(found) == [user for user in range(NUM_USERS) if row not in bought[user]]
    np.testing.assert_allclose(answer["score"][0], expected[found, row], rtol=5e-4, atol=5e-4)
    assert (np.diff(answer["score"][0]) <= 0).all()


def test_a_batch_of_items_is_answered_as_each_alone_and_short_lists_are_filled_up(served):
    items = [item_id(9), item_id(3), item_id(19)]
    together = served("audience", **inputs(items, k=EVERYBODY))
    assert together["user_id"].shape == (3, NUM_USERS)
    for place, item in enumerate(items):
        alone = served("audience", **inputs([item], k=EVERYBODY))
        assert user_of(together, place) == user_of(alone)
        assert set(together["user_id"][place, len(user_of(alone)) :]) <= {b""}
    three = served("audience", **inputs(items, k=3))
    np.testing.assert_array_equal(three["user_id"], together["user_id"][:, :3])


def test_a_product_that_is_not_on_the_shelf_inherits_from_the_seen_items_nearest_to_it(
    served,
    shop,
    oracle,
    row_of,
):
    raw = shop.items[9]
    product = {name: raw[name][0] for name in TEXTS} | {"price": raw["price"][0]}
    answer = served("audience", **inputs(products=[product]))
    row = row_of[item_id(9)]
    # Neither is one of the shelf's rounded embeddings.
    exact = oracle.tower(served.features.astype(float), served.table.price_bucket)
    cosine = exact[oracle.anchors] @ exact[row]
    weight = np.maximum(cosine, 0.0) ** 4
    assert len(weight) <= NEIGHBOURS
    weight /= weight.sum()
    scores = []
    for user in range(NUM_USERS):
        history = known_history(served, user)
        places = [np.flatnonzero(oracle.anchors == row)[0] for row in history]
        anchors = oracle.teacher[places].sum(axis=0)
        share = max(anchors @ weight, 0.0) / (oracle.relative_to(anchors) + 1e-4)
        scores.append(np.log(share + 0.1) + np.log1p(len(history)))
    found = user_of(answer)
    assert sorted(found) == list(range(NUM_USERS))
    np.testing.assert_allclose(answer["score"][0], np.array(scores)[found], rtol=2e-3, atol=2e-3)


def test_ids_and_texts_may_stand_in_one_request(served):
    product = {"title": b"red glass tea cup"}
    mixed = served("audience", **inputs([item_id(9)], [product], k=7))
    np.testing.assert_array_equal(
        mixed["user_id"],
        np.concatenate(
            [
                served("audience", **inputs([item_id(9)], k=7))["user_id"],
                served("audience", **inputs(products=[product], k=7))["user_id"],
            ]
        ),
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (inputs([b"no-such-item"]), r"not in the catalogue.*no-such-item"),
        (inputs(products=[{}]), "item_id is empty, and so are the texts"),
        (inputs([item_id(0)], k=0), "k must be at least 1"),
    ],
)
def test_what_cannot_be_asked_is_an_invalid_argument_that_says_so(served, asked, says):
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        served("audience", **asked)


def directly(served, monkeypatch, item, k, **constants):
    """The answer where the shop counts as one with many users."""
    for name, value in constants.items():
        monkeypatch.setattr(audience, name, value)
    answer = served.module.audience(**inputs([item], k=k))
    return {name: value.numpy() for name, value in answer.items()}


def test_among_many_users_candidates_get_their_full_scores_and_no_buyer_is_one(
    served,
    monkeypatch,
    expected,
    row_of,
    bought,
):
    for number in (3, 9):
        row = row_of[item_id(number)]
        answer = directly(
            served, monkeypatch, item_id(number), 4, SMALL=1, CANDIDATES=6, POSTINGS=20
        )
        found = user_of(answer)
        assert len(set(found)) == 4
        assert all(row not in bought[user] for user in found)
        np.testing.assert_allclose(answer["score"][0], expected[found, row], rtol=5e-4, atol=5e-4)


def test_where_all_purchases_are_looked_at_the_candidates_are_the_best(served, monkeypatch):
    for number in (3, 9, 18):
        best = user_of(served("audience", **inputs([item_id(number)], k=4)))
        many = directly(
            served, monkeypatch, item_id(number), 4, SMALL=1, CANDIDATES=20, POSTINGS=10**6
        )
        assert user_of(many) == best


def test_first_interactions_move_an_audience_and_their_users_leave_it(served, model, row_of):
    taken = take_in(
        model, USERS, interactions(served, {row_of[item_id(59)]: [(5, 100, 1.0), (11, 160, 1.0)]})
    )
    assign(model, taken.columns)

    def ask(signature, **given):
        return {name: v.numpy() for name, v in model.signatures[signature](**given).items()}

    before = user_of(served("audience", **inputs([item_id(59)])))
    found = {item: user_of(ask("audience", **inputs([item_id(item)]))) for item in (59, 18)}
    assert set(before) - set(found[59]) == {5, 11} < set(found[18])
    for item, users in found.items():
        scores = ask(
            "score",
            user_id=tf.constant([user_id(user) for user in users]),
            history=tf.zeros([len(users), 0], tf.string),
            profile=tf.fill([len(users)], ""),
            item_id=tf.fill([len(users)], item_id(item)),
        )["score"]
        habit = np.log1p(np.diff(model._shelf.user_offset.numpy())[users])
        answer = ask("audience", **inputs([item_id(item)]))["score"][0, : len(users)]
        np.testing.assert_allclose(answer, scores + habit, rtol=1e-4, atol=1e-4)
    assert before != found[59]


def test_the_index_is_that_of_the_purchases_also_after_more_of_them(served, model, row_of):
    assign(
        model,
        take_in(model, USERS, interactions(served, {row_of[item_id(59)]: [(5, 100, 1.0)]})).columns,
    )
    for shelf in (served.loaded._shelf, model._shelf):
        items, offset = shelf.user_items.numpy(), shelf.user_offset.numpy()
        of_user = [set(items[a:b]) for a, b in pairwise(offset)]
        users, bounds = shelf.buyers.user.numpy(), shelf.buyers.offset.numpy()
        for row in range(SIZE):
            own = [user for user in range(NUM_USERS) if row in of_user[user]]
            assert users[bounds[row] : bounds[row + 1]].tolist() == own


def test_what_to_expect_of_users_is_their_share_times_one_more_than_they_bought(served):
    data, buyers = served.data, served.data.buyers
    inherited = np.random.default_rng(8).uniform(0, 2, NUM_USERS)
    share = inherited / (np.maximum(buyers.reference, 0) + 1e-4) + 0.1
    expected = share * (1 + np.diff(data.user_offset))
    np.testing.assert_allclose(buyers.base + buyers.gain * inherited, expected, rtol=1e-5)
