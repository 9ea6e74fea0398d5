import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.core.protobuf import saved_model_pb2

from models.export import retriever, shortlist
from models.export.saved_shelf import save_shelf
from models.interactions import PAD
from models.ranking import PLACES
from models.shelf.id_index import sort_ids
from pipeline.cli import main
from pipeline.layout import serving_folder
from serving.asking.refusals import meaning, plain
from tests.models.conftest import CHANCE, MODEL_OPTIONS, known_history
from tests.models.oracle import ROUNDED, Oracle
from tests.models.shop import NUM_USERS, SIZE, interaction, item_id, user_id
from tests.signatures import CONTRACT

FLOOR = float(np.finfo(np.float32).min)
UNKNOWN = b"nobody"
NAMED = r"not in the catalogue.*no-such-item"


@pytest.fixture(scope="module")
def judge(served, purchases):
    """Of what is evaluated: it knows the train split alone, and ranks what somebody bought."""
    sold = ~served.table.is_new
    return Oracle(
        served, purchases, served.data.judged.quality, reference=served.table.is_cold & sold,
        candidates=sold, anchors_per_item=MODEL_OPTIONS.anchors_per_item,
    )  # fmt: skip


@pytest.fixture
def recommend(served):
    """Ask for one or several users; histories are padded to one width."""

    def ask(users, histories=None, profiles=None, *, k=10, new_only=False, width=None):
        histories = histories or [()] * len(users)
        width = max(map(len, histories)) if width is None else width
        padded = [[*history, *[b""] * (width - len(history))] for history in histories]
        return served(
            "recommend",
            user_id=tf.constant(users),
            history=tf.constant(padded, tf.string, [len(users), width]),
            profile=tf.constant(profiles or [b""] * len(users)),
            k=tf.constant(k),
            new_only=tf.constant(new_only),
        )

    return ask


def known_ratings(served, user):
    start, end = served.data.user_offset[user : user + 2]
    return served.data.user_rating[start:end]


def ids_of(row_of, answer, place=0):
    return [row_of[item] for item in answer["item_id"][place] if item]


# Recommendations.


@pytest.mark.parametrize("user", [0, 1, 7, 22])
def test_scores_of_a_known_user_are_the_formula_of_the_towers(
    served, recommend, oracle, row_of, bought, user
):
    answer = recommend([user_id(user)], k=SIZE)
    history = known_history(served, user)
    profile = oracle.profile(served.profiles.at(user))
    expected = oracle.logits(history, profile)
    candidates = [row for row in np.argsort(-expected, kind="stable") if row not in bought[user]]
    np.testing.assert_allclose(answer["score"][0], expected[candidates], rtol=5e-4, atol=5e-4)
    found = ids_of(row_of, answer)
    np.testing.assert_allclose(expected[found], expected[candidates], rtol=5e-4, atol=5e-4)
    assert sorted(found) == sorted(candidates)


BLOCKS = 5


@pytest.fixture
def large(served, monkeypatch):
    """`recommend` where the catalogue counts as large: more items than a shortlist takes."""
    monkeypatch.setattr(retriever, "SMALL", 1)
    monkeypatch.setattr(retriever, "BLOCKS", BLOCKS)
    monkeypatch.setattr(shortlist, "BLOCK", 4)

    def ask(user, *, k, new_only=False):
        answer = served.module.recommend(
            tf.constant([user_id(user)]), tf.zeros([1, 0], tf.string), tf.constant([""]),
            tf.constant(k), tf.constant(new_only),
        )  # fmt: skip
        return {name: value.numpy() for name, value in answer.items()}

    return ask


@pytest.mark.parametrize("new_only", [False, True])
def test_a_shortlist_has_full_scores_and_nothing_that_is_excluded(
    large, served, oracle, row_of, bought, new_only
):
    for user in range(8):
        answer = large(user, k=5, new_only=new_only)
        found = ids_of(row_of, answer)
        profile = oracle.profile(served.profiles.at(user))
        expected = oracle.logits(known_history(served, user), profile)
        np.testing.assert_allclose(
            answer["score"][0][: len(found)], expected[found], rtol=5e-4, atol=5e-4
        )
        assert len(set(found)) == 5 and not bought[user].intersection(found)
        assert (np.diff(answer["score"][0]) <= 0).all()
        if new_only:
            assert served.table.is_new[found].all()


def test_a_shortlist_holds_most_of_the_best(large, served, oracle, row_of, bought):
    hits = []
    for user in range(NUM_USERS):
        profile = oracle.profile(served.profiles.at(user))
        expected = oracle.logits(known_history(served, user), profile)
        best = [r for r in np.argsort(-expected, kind="stable") if r not in bought[user]][:5]
        hits += [row in ids_of(row_of, large(user, k=5)) for row in best]
    by_chance = 4 * BLOCKS / SIZE
    assert np.mean(hits) > (1 + by_chance) / 2


def test_a_list_longer_than_the_shortlist_is_taken_from_all(large, served, bought):
    answer = large(3, k=SIZE)
    assert answer["item_id"].shape == (1, SIZE - len(bought[3]))


@pytest.mark.parametrize("seen", [[], [3], [3, 33]])
def test_a_new_product_in_a_history_counts_as_the_anchors_that_it_is_like(
    recommend, oracle, row_of, served, seen
):
    new = served.table.ids[served.table.is_new][:2].tolist()
    history = [new[0], *map(item_id, seen), new[1], new[0]]
    answer = recommend([UNKNOWN], [history], k=SIZE)
    expected = oracle.logits([row_of[item] for item in history])
    found = ids_of(row_of, answer)
    np.testing.assert_allclose(answer["score"][0], expected[found], rtol=1e-3, atol=1e-3)
    assert np.ptp(answer["score"][0]) > 1.0
    # Beside another user in the batch as alone.
    both = recommend([UNKNOWN] * 2, [history, [item_id(8)] * len(history)], k=5)
    np.testing.assert_allclose(both["score"][0], answer["score"][0, :5], rtol=1e-5)


def test_a_history_that_is_like_no_anchor_is_as_good_as_none(model, recommend, served):
    """Not a list in the order of rows."""
    row = np.flatnonzero(served.table.is_new)[0]
    lists = model._shelf.served
    weight = lists.anchor_weight.numpy()
    weight[lists.source.numpy()[row]] = 0
    lists.anchor_weight.assign(weight)
    item = served.table.ids[row]
    answer, nobody = (
        model.signatures["recommend"](
            user_id=tf.constant([UNKNOWN]), history=tf.constant([history]),
            profile=tf.constant([""]), k=tf.constant(20), new_only=tf.constant(False),
        )
        for history in ([item], [b""])
    )  # fmt: skip
    expected = [found for found in nobody["item_id"].numpy()[0] if found != item]
    assert answer["item_id"].numpy()[0].tolist()[: len(expected)] == expected


def test_a_given_history_replaces_the_known_one_and_both_are_excluded(
    recommend, oracle, row_of, bought
):
    given = [item_id(3), item_id(33)]
    answer = recommend([user_id(1)], [given], k=SIZE)  # a user without a profile
    rows = [row_of[item] for item in given]
    expected = oracle.logits(rows)
    excluded = {*rows, *bought[1]}
    found = ids_of(row_of, answer)
    np.testing.assert_allclose(answer["score"][0], expected[found], rtol=5e-4, atol=5e-4)
    assert sorted(found) == sorted(set(range(SIZE)) - excluded)


def test_a_known_user_is_served_from_the_history_seen_in_training(served, recommend):
    history = [served.table.ids[row] for row in known_history(served, 1)]
    without, explicit = (
        dict(zip(answer["item_id"][0], answer["score"][0], strict=True))
        for answer in (recommend([user_id(1)], width=0, k=SIZE), recommend([UNKNOWN], [history]))
    )
    common = sorted(set(without) & set(explicit))
    assert len(common) >= 9
    np.testing.assert_allclose(
        [without[i] for i in common], [explicit[i] for i in common], rtol=1e-5
    )


def test_padding_and_a_history_of_no_columns_mean_the_same(recommend):
    users = [user_id(2), UNKNOWN]
    one, other = recommend(users, width=0), recommend(users, width=9)
    assert one["item_id"].tolist() == other["item_id"].tolist()
    np.testing.assert_array_equal(one["score"], other["score"])


def test_unknown_ids_in_a_history_are_ignored(recommend):
    plain = recommend([UNKNOWN], [[item_id(3), item_id(8)]])
    mixed = recommend([UNKNOWN], [[b"gone", item_id(3), b"", b"\xff?", item_id(8)]])
    assert plain["item_id"].tolist() == mixed["item_id"].tolist()
    np.testing.assert_array_equal(plain["score"], mixed["score"])


def test_no_list_holds_an_item_twice_or_anything_the_user_has_bought(
    served, recommend, row_of, bought
):
    assert all(bought[user] == set(known_history(served, user)) for user in range(NUM_USERS))
    users = [user_id(user) for user in range(NUM_USERS)]
    answer = recommend(users, k=SIZE)
    for user in range(NUM_USERS):
        found = ids_of(row_of, answer, user)
        assert len(found) == len(set(found))
        assert set(found) == set(range(SIZE)) - bought[user]


def test_scores_are_finite_and_best_first_and_float32(recommend):
    answer = recommend([user_id(0), UNKNOWN], [[], [item_id(9)]], k=1000)
    assert answer["score"].dtype == np.float32
    assert np.isfinite(answer["score"]).all()
    assert (np.diff(answer["score"], axis=1) <= 0).all()


def test_k_over_the_catalogue_is_served_with_what_there_is(recommend):
    answer = recommend([UNKNOWN], k=10_000)
    assert answer["item_id"].shape == (1, SIZE)


def test_k_columns_come_back_where_there_are_k_candidates(recommend):
    for k in (1, 7):
        answer = recommend([user_id(0), UNKNOWN], k=k)
        assert answer["item_id"].shape == answer["score"].shape == (2, k)


def test_a_shorter_list_of_a_batch_ends_in_empty_ids(recommend, row_of):
    short = [item_id(row) for row in range(0, SIZE, 2)]
    answer = recommend([UNKNOWN, UNKNOWN], [[], short], k=1000)
    assert answer["item_id"].shape == (2, SIZE)
    tail = SIZE - len(short)
    assert len(ids_of(row_of, answer, 1)) == tail
    assert set(answer["item_id"][1, tail:]) == {b""}
    assert (answer["score"][1, tail:] == FLOOR).all()


@pytest.mark.parametrize("user", [user_id(4), UNKNOWN])
def test_new_only_holds_the_new_items_and_no_others(served, recommend, user):
    answer = recommend([user], k=1000, new_only=True)
    assert set(answer["item_id"][0]) == set(served.table.ids[served.table.is_new])


def test_an_unknown_users_list_is_popular_items_with_room_for_new_ones(
    served, recommend, oracle, row_of
):
    answer = recommend([UNKNOWN], k=SIZE)
    found = ids_of(row_of, answer)
    np.testing.assert_allclose(answer["score"][0], oracle.fallback[found], rtol=1e-5)
    new = served.table.is_new[found]
    assert new[:10].sum() == 2
    sold = served.table.interactions[np.array(found)[~new]]
    assert (np.diff(sold) <= 0).all()


def test_a_given_profile_moves_an_unknown_users_list(served, recommend, oracle, row_of, shop):
    answer = recommend([UNKNOWN], profiles=[shop.profiles[0]], k=SIZE)
    profile = oracle.profile(served.profiles.at(0))
    assert np.abs(profile).max() > 0.01
    expected = oracle.logits([], profile)
    np.testing.assert_allclose(
        answer["score"][0], expected[ids_of(row_of, answer)], rtol=1e-3, atol=1e-4
    )


def test_a_profile_is_not_asked_where_a_history_tells_more(recommend, shop):
    given = [[item_id(3)]]
    one = recommend([UNKNOWN], given, [shop.profiles[0]], k=SIZE)
    other = recommend([UNKNOWN], given, [b"age: 99."], k=SIZE)
    assert one["item_id"].tolist() == other["item_id"].tolist()
    np.testing.assert_array_equal(one["score"], other["score"])


def test_a_given_profile_replaces_the_known_one(served, shop):
    def rating(user, profile):
        return served(
            "score", user_id=tf.constant([user]), history=tf.constant([[item_id(6)]]),
            profile=tf.constant([profile]), item_id=tf.constant([item_id(9)]),
        )["rating"]  # fmt: skip

    stored = rating(user_id(0), b"")
    np.testing.assert_allclose(stored, rating(UNKNOWN, shop.profiles[0]), rtol=1e-4)
    replaced = rating(user_id(0), b"age: 99.")
    np.testing.assert_allclose(replaced, rating(UNKNOWN, b"age: 99."), rtol=1e-4)
    assert not np.allclose(stored, replaced)


def test_the_same_request_gets_the_same_answer_alone_or_in_a_batch(recommend):
    histories = [[item_id(5)], [], [item_id(6), item_id(41)]]
    users = [UNKNOWN, user_id(3), user_id(5)]
    one, two = recommend(users, histories), recommend(users, histories)
    np.testing.assert_array_equal(one["item_id"], two["item_id"])
    np.testing.assert_array_equal(one["score"], two["score"])
    for place in range(3):
        alone = recommend(users[place : place + 1], histories[place : place + 1])
        np.testing.assert_array_equal(alone["item_id"][0], one["item_id"][place])
        np.testing.assert_allclose(alone["score"][0], one["score"][place], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_1_is_an_invalid_argument_that_says_so(served, recommend, k):
    with pytest.raises(tf.errors.InvalidArgumentError, match="k must be at least 1") as caught:
        recommend([UNKNOWN], k=k)
    assert plain(caught.value.message) == f"k must be at least 1, it is {k}."
    with pytest.raises(tf.errors.InvalidArgumentError, match="k must be at least 1"):
        served("similar_items", item_id=tf.constant([item_id(0)]), k=tf.constant(k))


# Scores, similar items and embeddings.


def score(served, users, histories, items, profiles=None):
    return served(
        "score",
        user_id=tf.constant(users),
        history=tf.constant(histories, tf.string),
        profile=tf.constant(profiles or [b""] * len(users)),
        item_id=tf.constant(items),
    )


def test_the_score_of_an_item_is_that_of_recommend(served, recommend):
    answer = recommend([user_id(6)], k=SIZE)
    items = answer["item_id"][0].tolist()
    found = score(served, [user_id(6)] * len(items), [[]] * len(items), items)
    np.testing.assert_allclose(found["score"], answer["score"][0], rtol=1e-4, atol=1e-5)


def test_a_rating_is_predicted_from_what_the_user_is_known_to_have_given(served, oracle, row_of):
    user = 2
    history = known_history(served, user)
    ratings = known_ratings(served, user)
    profile = oracle.profile(served.profiles.at(user))
    given = [row_of[item_id(3)], history[1], row_of[item_id(8)], history[0]]
    assert not {given[0], given[2]} & set(history)
    ids = [served.data.item_id[row] for row in given]
    item = row_of[item_id(31)]
    found = score(
        served,
        [user_id(user), user_id(user), UNKNOWN, UNKNOWN],
        [[b""] * 4, ids, [b""] * 4, ids],
        [item_id(31)] * 4,
    )
    some = [None, ratings[1], None, ratings[0]]
    expected = [
        oracle.rating(item, history, ratings, profile),
        oracle.rating(item, given, some, profile),
        oracle.rating(item, []),
        oracle.rating(item, given),
    ]
    np.testing.assert_allclose(found["rating"], expected, atol=1e-5)
    assert abs(expected[1] - oracle.rating(item, given, None, profile)) > 1e-3


def test_ratings_stay_between_0_and_1(served):
    users = [user_id(user) for user in range(NUM_USERS)]
    found = score(served, users, [[]] * NUM_USERS, [item_id(9)] * NUM_USERS)
    assert found["rating"].min() >= 0.0
    assert found["rating"].max() <= 1.0


def test_an_unknown_item_is_an_invalid_argument_that_names_it(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match=NAMED) as caught:
        score(served, [UNKNOWN] * 2, [[b""]] * 2, [item_id(0), b"no-such-item"])
    # Clients tell people by these words what was meant.
    told = meaning(plain(caught.value.message), "shop:8500")
    assert told is not None
    assert told.startswith("The model at shop:8500 does not know item no-such-item. Give ids")
    with pytest.raises(tf.errors.InvalidArgumentError, match=NAMED):
        served("similar_items", item_id=tf.constant([b"no-such-item"]), k=tf.constant(3))


def test_similar_items_are_the_nearest_by_cosine_without_the_item_itself(served, oracle, row_of):
    asked = [item_id(4), item_id(19)]
    answer = served("similar_items", item_id=tf.constant(asked), k=tf.constant(1000))
    assert answer["item_id"].shape == (2, SIZE - 1)
    for place, item in enumerate(asked):
        cosine = oracle.embedding @ oracle.embedding[row_of[item]]
        found = ids_of(row_of, answer, place)
        assert sorted(found) == sorted(set(range(SIZE)) - {row_of[item]})
        np.testing.assert_allclose(answer["score"][place], cosine[found], atol=1e-5)
        assert (np.diff(answer["score"][place]) <= 0).all()


def embed(served, items):
    texts = {
        name: tf.constant([item[name][0] for item in items])
        for name in ("title", "category", "brand", "description")
    }
    price = [item["price"][0] if item["price"] else np.nan for item in items]
    return served("embed_items", **texts, price=tf.constant(price, tf.float32))["embedding"]


def test_a_products_raw_text_and_price_embed_to_its_place_on_the_shelf(
    served, shop, oracle, row_of
):
    found = embed(served, shop.items)
    rows = [row_of[item["item_id"][0]] for item in shop.items]
    expected = oracle.tower(served.features.astype(float), served.table.price_bucket)[rows]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(oracle.embedding[rows], expected, atol=ROUNDED)


def test_a_product_embeds_alone_as_in_a_batch_and_without_any_text(served, shop):
    together = embed(served, shop.items[:9])
    np.testing.assert_allclose(embed(served, shop.items[3:4])[0], together[3], atol=1e-4)
    empty = {name: [b""] for name in ("title", "category", "brand", "description")}
    assert np.isfinite(embed(served, [empty | {"price": []}])).all()


def test_a_users_interests_are_the_embeddings_of_the_history(served, oracle, row_of):
    answer = served(
        "embed_users",
        user_id=tf.constant([UNKNOWN, user_id(3)]),
        history=tf.constant([[item_id(3), b"gone", item_id(8)], [b"", b"", b""]]),
        profile=tf.constant([b"", b""]),
    )["embedding"]
    rows = [row_of[item_id(3)], row_of[item_id(8)]]
    np.testing.assert_allclose(answer[0, [0, 2]], oracle.embedding[rows], atol=1e-5)
    assert np.abs(answer[0, [1, *range(3, answer.shape[1])]]).max() == 0.0
    known = known_history(served, 3)
    np.testing.assert_allclose(answer[1, : len(known)], oracle.embedding[known], atol=1e-5)


def test_serving_default_scores_an_ingested_interaction(served, oracle, row_of, shop):
    history, ratings = [item_id(3), b"gone", item_id(8)], [0.9, 0.1, 0.2]
    examples = [
        interaction(UNKNOWN, item_id(12), history=history, ratings=ratings),
        interaction(user_id(1), item_id(12)),
        interaction(UNKNOWN, item_id(12), profile=shop.profiles[0]),
    ]
    answer = served("serving_default", examples=tf.constant(examples))
    rows, item = [row_of[item_id(3)], row_of[item_id(8)]], row_of[item_id(12)]
    known = known_history(served, 1)
    profile = oracle.profile(served.profiles.at(0))
    expected = [
        (oracle.rating(item, rows, [0.9, 0.2]), oracle.logits(rows)[item]),
        (
            oracle.rating(item, known, known_ratings(served, 1)),
            oracle.logits(known)[item],
        ),
        (oracle.rating(item, [], None, profile), oracle.logits([], profile)[item]),
    ]
    np.testing.assert_allclose(answer["rating"], [r for r, _ in expected], atol=1e-4)
    np.testing.assert_allclose(answer["score"], [s for _, s in expected], rtol=1e-3, atol=1e-4)


def test_an_ingested_history_without_ratings_is_not_taken_for_one_of_the_lowest(
    served, oracle, judge, row_of
):
    rows, known = np.flatnonzero(~judge.cold)[:2].tolist(), known_history(served, 1)
    history, item = served.table.ids[rows], row_of[item_id(12)]
    examples = tf.constant(
        [
            interaction(UNKNOWN, item_id(12), history=history, ratings=[]),
            interaction(UNKNOWN, item_id(12), history=history, ratings=[0.9, 0.2]),
            # What a known user gave stays known.
            interaction(user_id(1), item_id(12), history=served.table.ids[known], ratings=[]),
        ]
    )
    expected = [
        oracle.rating(item, rows),
        oracle.rating(item, rows, [0.9, 0.2]),
        oracle.rating(item, known, known_ratings(served, 1)),
    ]
    rated = served("serving_default", examples=examples)["rating"]
    np.testing.assert_allclose(rated, expected, atol=1e-4)
    judged = [judge.rating(item, rows), judge.rating(item, rows, [0.9, 0.2])]
    rated = served("evaluate", examples=examples[:2])["rating"]
    np.testing.assert_allclose(rated, judged, atol=1e-4)


# Evaluation.


@pytest.fixture(scope="module")
def evaluated(served, shop):
    """Examples with histories of seen and cold items, and what `evaluate` answers."""
    random = np.random.default_rng(4)
    rows = []
    for user in range(NUM_USERS):
        length = int(random.integers(0, 7))
        chosen = random.choice(SIZE, length + 1, replace=False)
        rows.append(
            {
                "user": user,
                "item": item_id(chosen[0]),
                "history": [item_id(item) for item in chosen[1:]],
                "ratings": random.random(length).round(2).tolist(),
                "rating": round(float(random.random()), 2),
            }
        )
    rows[5]["item"] = b"of-another-catalogue"
    rows[6]["item"] = rows[6]["history"][0] if rows[6]["history"] else rows[6]["item"]
    examples = tf.constant(
        [
            interaction(
                user_id(row["user"]),
                row["item"],
                history=row["history"],
                ratings=row["ratings"],
                rating=row["rating"],
                profile=shop.profiles[row["user"]],
            )
            for row in rows
        ]
    )
    return rows, examples, served("evaluate", examples=examples)


def seen_history(row, judge, row_of):
    """Rows and ratings of the history without the items that training never saw."""
    pairs = zip(row["history"], row["ratings"], strict=True)
    kept = [(row_of[item], rating) for item, rating in pairs if not judge.cold[row_of[item]]]
    return [item for item, _ in kept], [rating for _, rating in kept]


def test_ranks_are_those_of_the_formula_with_cold_items_struck_from_histories(
    evaluated, served, judge, row_of
):
    rows, _, answer = evaluated
    assert any(judge.cold[row_of[item]] for row in rows for item in row["history"])
    exact = 0
    for place, row in enumerate(rows):
        history, _ = seen_history(row, judge, row_of)
        profile = judge.profile(served.profiles.at(row["user"]))
        best, worst = judge.ranks(row_of.get(row["item"]), history, profile)
        found = (answer["rank"][place], answer["cold_rank"][place])
        assert best[0] <= found[0] <= worst[0] and best[1] <= found[1] <= worst[1], place
        exact += best == worst
    assert exact > len(rows) / 2


def test_ranks_are_among_the_items_of_the_interaction_s_span_and_older_ones(
    evaluated, served, judge, row_of
):
    rows, examples, among_all = evaluated
    for span in (1, 2, 3):
        of_span = []
        for serialized in examples.numpy():
            example = tf.train.Example.FromString(serialized)
            example.features.feature["span"].int64_list.value.append(span)
            of_span.append(example.SerializeToString())
        answer = served("evaluate", examples=tf.constant(of_span))
        for place, row in enumerate(rows):
            item = row_of.get(row["item"])
            if item is None or served.data.span[item] > span:
                continue
            history, _ = seen_history(row, judge, row_of)
            profile = judge.profile(served.profiles.at(row["user"]))
            best, worst = judge.ranks(item, history, profile, there=served.data.span <= span)
            found = (answer["rank"][place], answer["cold_rank"][place])
            assert best[0] <= found[0] <= worst[0] and best[1] <= found[1] <= worst[1], place
            assert found[0] <= among_all["rank"][place]
    np.testing.assert_array_equal(answer["rank"], among_all["rank"])


def test_an_item_of_another_catalogue_ranks_behind_every_item(evaluated):
    rows, _, answer = evaluated
    assert rows[5]["item"] == b"of-another-catalogue"
    assert answer["rank"][5] == SIZE + 1


def test_evaluated_ratings_and_errors_are_those_of_the_formula(evaluated, served, judge, row_of):
    rows, _, answer = evaluated
    for place, row in enumerate(rows):
        history, ratings = seen_history(row, judge, row_of)
        profile = judge.profile(served.profiles.at(row["user"]))
        rating = judge.rating(row_of.get(row["item"]), history, ratings, profile)
        assert answer["rating"][place] == pytest.approx(rating, abs=1e-4)
        assert answer["squared_error"][place] == pytest.approx(
            (rating - row["rating"]) ** 2, abs=2e-4
        )
    np.testing.assert_array_equal(answer["rated"][:, 0], answer["rating"])
    np.testing.assert_allclose(answer["given"], [[row["rating"]] for row in rows])


def test_half_of_an_implicit_error_is_on_an_item_of_the_same_kind_drawn_by_hash(
    evaluated, served, judge, row_of
):
    rows, examples, explicit = evaluated
    answer = {name: value.numpy() for name, value in served.implicit.evaluate(examples).items()}
    np.testing.assert_array_equal(answer["rank"], explicit["rank"])
    sold = ~served.table.is_new
    pools = np.flatnonzero(~judge.cold), np.flatnonzero(judge.cold & sold)
    for place, row in enumerate(rows):
        item = row_of.get(row["item"])
        pool = pools[int(judge.cold[item or 0])]
        key = user_id(row["user"]) + b"\t" + row["item"]
        negative = pool[int(tf.strings.to_hash_bucket_fast(key, 1 << 30)) % len(pool)]
        if item is not None and not sold[item]:
            continue  # Nobody's, so it is never asked for.
        history, ratings = seen_history(row, judge, row_of)
        profile = judge.profile(served.profiles.at(row["user"]))
        rating, drawn = (
            judge.chance(CHANCE, one, history, ratings, profile) for one in (item, negative)
        )
        assert answer["rating"][place] == pytest.approx(rating, abs=1e-4)
        expected = ((rating - row["rating"]) ** 2 + drawn**2) / 2
        assert answer["squared_error"][place] == pytest.approx(expected, abs=2e-4)
        assert answer["rated"][place] == pytest.approx([rating, drawn], abs=1e-4)
        assert answer["given"][place].tolist() == [pytest.approx(row["rating"]), 0.0]


def test_an_implicit_rating_is_the_chance_by_head_and_retrieval(served, oracle):
    anchor, heir = int(oracle.anchors[0]), int(np.flatnonzero(served.table.is_new)[0])
    for user in (1, 7):
        for row in (anchor, heir):
            [known, unknown] = served.implicit.score(
                tf.constant([user_id(user), UNKNOWN]), tf.zeros([2, 0], tf.string),
                tf.fill([2], ""), tf.constant([served.data.item_id[row]] * 2),
            )["rating"].numpy()  # fmt: skip
            expected = oracle.chance(
                CHANCE, row, known_history(served, user), known_ratings(served, user),
                oracle.profile(served.profiles.at(user)),
            )  # fmt: skip
            assert known == pytest.approx(expected, abs=1e-3)
            assert unknown == pytest.approx(oracle.chance(CHANCE, row, []), abs=1e-3)


def test_what_the_model_knows_of_a_user_does_not_leak_into_the_evaluation(served):
    answer = served(
        "evaluate",
        examples=tf.constant([interaction(u, item_id(7)) for u in (user_id(7), UNKNOWN)]),
    )
    for values in answer.values():
        np.testing.assert_array_equal(values[0], values[1])


def test_the_lists_of_an_evaluation_are_those_that_the_rank_is_in(
    evaluated, served, judge, row_of, bought
):
    rows, _, answer = evaluated
    table = served.table
    cold = table.is_cold & ~table.is_new
    np.testing.assert_array_equal(answer["candidates"], (~table.is_new).sum())
    np.testing.assert_array_equal(answer["cold_candidates"], cold.sum())
    found = 0
    for place, row in enumerate(rows):
        item = row_of.get(row["item"], PAD)
        assert answer["asked"][place] == item
        assert answer["buyers"][place] == sum(item in of_user for of_user in bought)
        struck = set(seen_history(row, judge, row_of)[0])
        for listed, rank, among in (
            (answer["listed"][place], answer["rank"][place], ~table.is_new),
            (answer["cold_listed"][place], answer["cold_rank"][place], cold),
        ):
            shown = listed[listed != PAD]
            left = set(np.flatnonzero(among)) - struck
            assert len(set(shown)) == len(shown) == min(PLACES, len(left))
            assert among[shown].all() and not struck & set(shown)
            if item != PAD and among[item] and item not in struck and rank <= PLACES:
                assert item in shown[: int(rank)]
                found += 1
    assert found > 10


def test_a_collapsed_model_ranks_last_and_not_first(served, model, evaluated):
    shelf = model._shelf
    shelf.embedding.assign(tf.tile(shelf.embedding[:1], [SIZE, 1]))
    shelf.judged.fallback.assign(tf.zeros([SIZE]))
    shelf.judged.anchor_teacher.assign(tf.zeros_like(shelf.judged.anchor_teacher))
    shelf.judged.source.assign(tf.zeros_like(shelf.judged.source))
    rows, examples, _ = evaluated
    answer = model.signatures["evaluate"](examples=examples)
    known = [place for place, row in enumerate(rows) if row["item"] != b"of-another-catalogue"]
    assert answer["rank"].numpy()[known].min() > (~served.table.is_new).sum() - 10
    cold = (served.table.is_cold & ~served.table.is_new).sum()
    assert answer["cold_rank"].numpy().min() >= cold - 8


# The saved file.


@pytest.mark.parametrize("name", CONTRACT)
def test_a_signature_is_that_of_the_contract(served, name):
    inputs, outputs = CONTRACT[name]
    signature = served.loaded.signatures[name]
    assert {
        key: (spec.dtype, spec.shape.rank)
        for key, spec in signature.structured_input_signature[1].items()
    } == inputs
    assert {key: spec.dtype for key, spec in signature.structured_outputs.items()} == {
        key: dtype for key, (dtype, _) in outputs.items()
    }


def test_a_model_loaded_again_answers_as_the_one_that_was_saved(served, recommend, evaluated):
    _, examples, answer = evaluated
    before = served.module.evaluate(examples)
    for name, value in answer.items():
        np.testing.assert_allclose(value, before[name].numpy(), rtol=1e-5, atol=1e-6)
    users = tf.constant([user_id(2), UNKNOWN])
    direct = served.module.recommend(
        users, tf.zeros([2, 0], tf.string), tf.constant([b"", b"age: 4."]),
        tf.constant(10), tf.constant(False),
    )  # fmt: skip
    loaded = recommend([user_id(2), UNKNOWN], profiles=[b"", b"age: 4."])
    np.testing.assert_array_equal(loaded["item_id"], direct["item_id"].numpy())
    np.testing.assert_allclose(loaded["score"], direct["score"].numpy(), rtol=1e-5, atol=1e-6)


def test_a_pushed_version_is_exported_for_other_engines(served, tmp_path):
    versions, output = serving_folder(tmp_path), tmp_path / "index"
    versions.mkdir(parents=True)
    (versions / "1").symlink_to(served.path)
    words = ["index", "export", "--root", str(tmp_path), "--output", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    ids = (output / "items.txt").read_bytes().splitlines()
    assert set(ids) == set(served.data.item_id[served.data.available])
    assert f"{len(ids)} items of version 1 are in {output}." in result.output
    assert len(np.load(output / "items.npy")) == len(ids)


_LIST_OPS = """
import json, sys
import tensorflow
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session
def listed():
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return sorted(op.name for op in ops.op)
core = listed()
import tensorflow_text
print(json.dumps([core, listed()]))
"""


def saved_nodes(served):
    """Every node of the saved file, with the name of the function that it is in, "" for none."""
    saved = saved_model_pb2.SavedModel.FromString((served.path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    yield from (("", node) for node in graph.node)
    for function in graph.library.function:
        yield from ((function.signature.name, node) for node in function.node_def)


def test_every_op_of_the_saved_file_is_core_tensorflow_or_tensorflow_text(served):
    used = {node.op for _, node in saved_nodes(served)}
    # Another process, because this one has registered the ops of Transform, TFMA and more.
    listed = subprocess.run(
        [sys.executable, "-c", _LIST_OPS], capture_output=True, text=True, check=True
    )
    core, with_text = (set(ops) for ops in json.loads(listed.stdout.splitlines()[-1]))
    assert used <= with_text, f"a stock model server lacks {used - with_text}"
    # Ops that tensorflow_text had in 2.12 already, which is what a 2.16 server links.
    assert used - core <= {
        "NormalizeUTF8",
        "RegexSplitWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }


def test_the_saved_functions_note_no_shapes_and_the_fingerprint_is_of_what_the_file_holds(served):
    """Signatures keep theirs: clients read them."""
    notes = [function for function, node in saved_nodes(served) if "_output_shapes" in node.attr]
    assert set(notes) == {""}, "outside of functions"
    for signature in served.loaded.signatures.values():
        assert all(spec.shape.rank for spec in signature.structured_outputs.values())
    fingerprint = tf.saved_model.experimental.read_fingerprint(str(served.path))
    content, buckets = (served.path / "saved_model.pb").read_bytes(), 1 << 62
    # The same hash (FarmHash) in an op that everybody can call.
    expected = int(tf.strings.to_hash_bucket_fast(content, buckets))
    assert fingerprint.saved_model_checksum % buckets == expected


def test_what_signatures_ask_of_a_history_stands_in_the_saved_file_once(served):
    """Or they are all traced, saved and loaded that much longer."""
    sums = [
        function
        for function, node in saved_nodes(served)
        if node.op == "SparseSegmentSumWithNumSegments"
    ]
    # By all interactions, by those of the train split, and of supporters and an audience.
    assert len(sums) == len(set(sums)) == 4


def test_no_function_of_the_saved_file_holds_a_constant_twice(served):
    held = Counter(
        (function, *node.input, str(sorted(node.attr.items())))  # one may be bound to a place
        for function, node in saved_nodes(served)
        if node.op == "Const" and function
    )
    assert held and max(held.values()) == 1


_READS_PRICES = "__inference_(_embed_products|describe_items|explain)"


def test_no_read_of_a_long_column_is_a_copy(served):
    gathered = {
        node.name
        for function, node in saved_nodes(served)
        if node.op == "ResourceGather"
        and "bert" not in node.name  # a fixed table of embeddings
        # That of prices.
        and not re.match(_READS_PRICES, function)
    }
    assert not gathered, "use models.columns.take"


def test_no_branch_is_spread_over_the_graph_of_those_who_do_not_take_it(served):
    branches = [
        node
        for function, node in saved_nodes(served)
        if node.op in ("If", "StatelessIf", "While", "StatelessWhile")
        # Transform's graph is taken as it is.
        and "_pruned_" not in function
    ]
    assert len(branches) > 20
    assert not any(node.attr["_lower_using_switch_merge"].b for node in branches)


def longer(values, row):
    return tf.concat([values, tf.cast([row], values.dtype)], axis=0)


def test_a_product_is_put_on_the_shelf_of_a_loaded_model_without_tracing(served, model, tmp_path):
    shelf = model._shelf
    texts = {"title": b"green glass tea cup", "category": b"cup", "brand": b"", "description": b""}
    embedding = model.signatures["embed_items"](
        **{name: tf.constant([text]) for name, text in texts.items()}, price=tf.constant([np.nan])
    )["embedding"][0]
    ids, rows = sort_ids(np.append(shelf.item_id.numpy(), b"brand-new"))
    shelf.id_fingerprint.assign(ids)
    shelf.id_row.assign(rows)
    row = {
        "item_id": b"brand-new",
        "item_name": b"green glass tea cup",
        "embedding": embedding,
        "is_new": True,
        "is_cold": True,
        "available": True,
    }
    of_any = {"demand": 50.0, "quality": 0.0, "log_popularity": 0.0, "fallback": 1.0}
    list_place = len(shelf.served.anchor_index.numpy())
    lent = {"anchor_index": [0] * 5, "anchor_weight": [0.2] * 5, "source": list_place}
    blank = len(shelf.judged.anchor_teacher.numpy())
    evidence = {"of": -1, "expected_share": 0.0}
    buyers = {"offset": shelf.buyers.offset[-1]}
    for columns, values in (
        (shelf, row), (shelf.served, of_any | lent), (shelf.judged, of_any | {"source": blank}),
        (shelf.evidence, evidence), (shelf.buyers, buyers),
    ):  # fmt: skip
        for column, value in values.items():
            variable = getattr(columns, column)
            variable.assign(longer(variable.read_value(), value))
    ask = {
        "profile": tf.constant([b"", b""]),
        "user_id": tf.constant([user_id(0), UNKNOWN]),
        "k": tf.constant(3),
        "new_only": tf.constant(False),
        "history": tf.zeros([2, 0], tf.string),
    }
    save_shelf(model, served.path, tmp_path / "extended")
    model = tf.saved_model.load(str(tmp_path / "extended"))
    extended = model.signatures["recommend"](**ask)
    assert extended["item_id"].numpy()[:, 0].tolist() == [b"brand-new"] * 2
    scored = model.signatures["score"](
        user_id=ask["user_id"], history=ask["history"], profile=ask["profile"],
        item_id=tf.constant([b"brand-new"] * 2),
    )  # fmt: skip
    np.testing.assert_allclose(scored["score"], extended["score"][:, 0], rtol=1e-5)
    # And the extended model can be extended again.
    save_shelf(model, tmp_path / "extended", tmp_path / "again")
    again = tf.saved_model.load(str(tmp_path / "again")).signatures["recommend"](**ask)
    np.testing.assert_array_equal(again["item_id"], extended["item_id"])


# Batches without rows.


NO_TEXT = tf.zeros([0], tf.string)
NO_USER = {"user_id": NO_TEXT, "history": tf.zeros([0, 3], tf.string), "profile": NO_TEXT}
NO_PRODUCT = dict.fromkeys(("title", "category", "brand", "description"), NO_TEXT) | {
    "price": tf.zeros([0])
}
NO_SUPPORT = {
    "user_id": tf.zeros([0, 2], tf.string),
    "timestamp": tf.zeros([0, 2], tf.int64),
    "rating": tf.zeros([0, 2]),
}


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("serving_default", {"examples": NO_TEXT}),
        ("evaluate", {"examples": NO_TEXT}),
        ("recommend", NO_USER | {"k": tf.constant(5), "new_only": tf.constant(False)}),
        ("score", NO_USER | {"item_id": NO_TEXT}),
        ("explain", NO_USER | {"item_id": NO_TEXT}),
        ("embed_items", NO_PRODUCT),
        ("describe_items", NO_PRODUCT),
        ("embed_users", NO_USER),
        ("similar_items", {"item_id": NO_TEXT, "k": tf.constant(5)}),
        ("audience", NO_PRODUCT | {"item_id": NO_TEXT, "k": tf.constant(5)}),
        ("adapt_items", NO_SUPPORT | {"item_id": NO_TEXT}),
    ],
)
def test_a_batch_without_rows_gets_an_answer_without_rows(served, signature, inputs):
    promised = served.loaded.signatures[signature].structured_outputs
    found = served(signature, **inputs)
    assert found.keys() == promised.keys()
    for name, values in found.items():
        spec = promised[name]
        assert values.dtype == spec.dtype.as_numpy_dtype
        assert len(values) == 0 and spec.shape.is_compatible_with(values.shape)
