"""Lists under rules, against a greedy choice that takes one item after the other."""

import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
from click.testing import CliRunner

from components.catalogue.update import of_today
from models.errors import BadInput
from models.exploration.exploration import OUT
from models.export.lists import Wanted, top
from models.export.ruled import DIVERSE, RuledLists
from models.export.saved_graph import save_graph
from models.export.served import ServedModel
from models.inheritance.aligner import Aligner
from models.inheritance.anchors import inherit
from models.inheritance.simulation import SimulatedLaunch
from models.products import describe
from models.rules import NO_GROUP, CapRule, Goods, Rules, rule
from models.shelf.admission import FILE, Admission
from models.shelf.newcomers import place, refreshed
from models.shelf.shelf import Shelf
from models.tracing import branches_as_calls
from pipeline.cli import main
from pipeline.layout import serving_folder
from serving.version_labels import versions_on_disk
from tests.models.oracle import in_turns
from tests.models.shelf.test_newcomers import product
from tests.models.shop import NUM_USERS, SIZE, item_id, user_id
from tests.pipeline.recorded import RecordedRoot

NOW = 1_800_000_000  # in January 2027
LATER = 1_850_000_000


def lists(scores, is_new, group, rules, allowed, k, embedding=None):
    """What `RuledLists` makes of scores [B, I]: per user (row, score), and how often it asked."""
    shelf: Any = SimpleNamespace(
        is_new=tf.Variable(is_new),
        rules=SimpleNamespace(group=tf.Variable(group)),
        embeddings=lambda rows: tf.gather(tf.constant(embedding, tf.float32), rows),
    )
    asked = []

    def best(wanted):
        asked.append(int(wanted.k))
        return top(tf.where(wanted.allowed, tf.constant(scores), OUT), wanted.k)

    wanted = Wanted(tf.constant(allowed), tf.constant(k))
    found, rows = RuledLists(shelf=shelf, rules=rules)(best, wanted)
    pairs = [
        [(int(row), float(score)) for row, score in zip(r, s, strict=True) if score > OUT]
        for r, s in zip(rows.numpy(), found.numpy(), strict=True)
    ]
    return pairs, asked


def greedy(scores, is_new, group, rules, allowed, k):
    """The same for one user, one item after the other."""
    order = [
        row for row in np.argsort(-scores, kind="stable") if allowed[row] and scores[row] > OUT
    ]
    count: dict[int, int] = {}

    def fits(row):
        if rules.cap is None or group[row] == NO_GROUP:
            return True
        count[group[row]] = count.get(group[row], 0) + 1
        return count[group[row]] <= rules.cap.most

    sure: list[int] = []
    wanted = int(np.ceil(rules.new_share * k - 1e-4))
    for row in order:
        if is_new[row] and len(sure) < wanted and fits(row):
            sure.append(row)
    kept = list(sure)
    for row in order:
        if row not in sure and len(kept) < k and fits(row):
            kept.append(row)
    return sorted(kept, key=lambda row: (-scores[row], row))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "rules",
    [
        Rules(new_share=0.3),
        Rules(cap=CapRule(group="category", most=2)),
        Rules(new_share=0.5, cap=CapRule(group="category", most=1)),
    ],
)
def test_a_list_is_the_greedy_choice(seed, rules):
    random = np.random.default_rng(seed)
    items, k = int(random.integers(20, 200)), int(random.integers(1, 12))
    scores = random.normal(size=(3, items)).astype(np.float32)
    scores[:, random.integers(0, items, 4)] = OUT  # what was bought
    is_new = random.random(items) < random.choice([0.05, 0.5])
    group = random.choice([NO_GROUP, 4, 1 << 55, 9, 10, 11], items)
    # The same group leads, so that the first candidates don't fill a list.
    scores[0, group == 4] += 10 * (scores[0, group == 4] > OUT)
    allowed = random.random(items) < 0.9
    found, _ = lists(scores, is_new, group, rules, allowed, k)
    for user in range(3):
        expected = greedy(scores[user], is_new, group, rules, allowed, k)
        assert [row for row, _ in found[user]] == expected
        for row, score in found[user]:
            assert score == scores[user, row]


def relevant_and_different(scores, is_new, group, rules, order, k, embedding):
    """Maximal marginal relevance for one user among candidates, one item after the other."""
    chosen: list[int] = []
    owed = min(int(np.ceil(rules.new_share * k - 1e-4)), is_new[order].sum())

    def able(row):
        same = sum(group[other] == group[row] != NO_GROUP for other in chosen)
        return row not in chosen and (rules.cap is None or same < rules.cap.most)

    while len(chosen) < k and (left := [row for row in order if able(row)]):
        if owed - is_new[chosen].sum() >= k - len(chosen):
            left = [row for row in left if is_new[row]] or left
        near = np.max([np.zeros(len(scores)), *(embedding @ embedding[row] for row in chosen)], 0)
        worth = scores[left] - rules.diversity.weight * near[left]
        chosen.append(left[int(np.argmax(worth))])
    return sorted(chosen, key=lambda row: (-scores[row], row))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"new_share": 0.4},
        {"cap": CapRule(group="category", most=2)},
        {"new_share": 0.5, "cap": CapRule(group="category", most=3)},
    ],
)
def test_a_diverse_list_trades_score_for_difference(seed, others):
    random = np.random.default_rng(seed)
    items, k = int(random.integers(30, 150)), int(random.integers(2, 12))
    rules = Rules.model_validate({"diversity": {"weight": 1.5}} | others)
    scores = random.normal(size=(3, items)).astype(np.float32)
    scores[:, random.integers(0, items, 4)] = OUT
    is_new = random.random(items) < 0.3
    group = random.choice([NO_GROUP, 4, 9, 10, 11], items)
    embedding = random.normal(size=(items, 4))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    everything = np.ones(items, bool)
    found, asked = lists(scores, is_new, group, rules, everything, k, embedding)
    for user in range(3):
        order = [row for row in np.argsort(-scores[user], kind="stable") if scores[user, row] > OUT]
        terms = scores[user], is_new, group, rules
        expected = relevant_and_different(*terms, order[: asked[0]], k, embedding)
        wanted = min(np.ceil(rules.new_share * k - 1e-4), is_new.sum())
        if len(expected) < k or is_new[expected].sum() < wanted:
            expected = relevant_and_different(*terms, order, k, embedding)
        assert [row for row, _ in found[user]] == expected
        assert all(score == scores[user, row] for row, score in found[user])


@pytest.mark.parametrize("seed", range(6))
def test_a_list_does_not_depend_on_who_else_is_asked_for(seed):
    random = np.random.default_rng(seed)
    items, k = 400, 10
    rules = Rules.model_validate({"diversity": {"weight": 2}, "new_share": 0.1})
    embedding = random.normal(size=(items, 16)) + random.normal(size=16)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    is_new = random.permutation(items) < 80
    # So much alike that diversity would choose other items among more candidates.
    scores = random.normal(scale=0.1, size=(3, items)).astype(np.float32)
    # Nothing new is among the first candidates of one of the others.
    scores[1, is_new] -= 20
    none, every = np.full(items, NO_GROUP), np.ones(items, bool)

    def found(users):
        return lists(scores[users], is_new, none, rules, every, k, embedding)

    together, asked = found([0, 1, 2])
    alone = [found([user]) for user in range(3)]
    assert [pairs for [pairs], _ in alone] == together
    assert [len(each) for _, each in alone] == [1, 3, 1] and len(asked) == 3


def test_more_places_than_are_made_diverse_are_filled_by_score():
    random = np.random.default_rng(3)
    scores = random.normal(size=(1, 400)).astype(np.float32)
    embedding = random.normal(size=(400, 3))
    rules = Rules.model_validate({"diversity": {"weight": 4}})
    none, every = np.full(400, NO_GROUP), np.ones(400, bool)
    found, _ = lists(scores, ~every, none, rules, every, DIVERSE + 50, embedding)
    assert len({row for row, _ in found[0]}) == DIVERSE + 50
    order = np.argsort(-scores[0], kind="stable")
    chosen = relevant_and_different(scores[0], ~every, none, rules, order, DIVERSE, embedding)
    assert set(chosen) != set(order[:DIVERSE])
    assert set(chosen) <= {row for row, _ in found[0]}
    assert {row for row, _ in found[0]} - set(chosen) == set(
        [row for row in order if row not in chosen][:50]
    )


def test_only_where_the_first_candidates_do_not_do_more_are_asked_for():
    scores = -np.arange(300, dtype=np.float32)[np.newaxis]
    is_new, group = np.arange(300) == 250, np.full(300, NO_GROUP)
    nothing_new = lists(scores, np.zeros(300, bool), group, Rules(new_share=0.1), is_new < 2, 10)
    assert nothing_new[1] == [46]
    found, asked = lists(scores, is_new, group, Rules(new_share=0.1), is_new < 2, 10)
    assert [row for row, _ in found[0]] == [*range(9), 250]
    assert len(asked) == 3


@pytest.fixture(scope="module")
def goods(served, shop, row_of):
    raw = sorted(shop.items, key=lambda item: row_of[item["item_id"][0]])
    prices = [item["price"][0] if item["price"] else np.nan for item in raw]
    item, category, brand = (
        np.array([item[name][0] for item in raw], object)
        for name in ("item_id", "category", "brand")
    )
    words = [len(b" ".join([item["title"][0], item["description"][0]]).split()) for item in raw]
    return Goods(item, category, brand, np.array(prices, np.float32), np.array(words))


def test_the_catalogue_comes_to_the_rules_as_it_is(served, goods):
    table = served.table.goods
    for found, expected in zip(table[:3], goods[:3], strict=True):
        assert found.tolist() == expected.tolist()
    np.testing.assert_allclose(table.price, goods.price, rtol=1e-6)


RULES = Rules.model_validate(
    {
        "block": {"items": [item_id(1).decode()], "categories": ["cup"]},
        "price": {"max": 15},
        "dates": [{"categories": ["light"], "last": "2027-06-01"}],
        "boosts": [{"brands": ["acme"], "factor": 2}],
        "new_share": 0.3,
        "cap": {"group": "category", "most": 2},
    }
)


@pytest.fixture(scope="module")
def ruled(served, goods, tmp_path_factory):
    users = tmp_path_factory.mktemp("ruled") / "users.txt"
    users.write_bytes(b"".join(user_id(user) + b"\n" for user in range(NUM_USERS)))
    data = replace(served.data, rules=rule(RULES, goods, now=NOW))
    return ServedModel(
        **(served.parts | {"shelf": Shelf(data, user_ids=users)}), chance=None, rules=RULES
    )


def test_a_served_list_keeps_the_rules_and_is_the_best_that_does(ruled, served, goods, row_of):
    users = [user_id(user) for user in range(6)]
    inputs = tf.constant(users), tf.zeros([6, 0], tf.string), tf.fill([6], "")
    free = served("recommend", **dict(zip(("user_id", "history", "profile"), inputs, strict=True)),
                  k=tf.constant(SIZE), new_only=tf.constant(False))  # fmt: skip
    answer = ruled.recommend(*inputs, tf.constant(8), tf.constant(False))
    said = rule(RULES, goods, now=NOW)
    assert 5 < said.allowed.sum() < SIZE - 5
    for user in range(6):
        scores = np.full(SIZE, OUT, np.float32)
        for item, score in zip(free["item_id"][user], free["score"][user], strict=True):
            if item:
                scores[row_of[item]] = score + said.boost[row_of[item]]
        expected = greedy(scores, served.table.is_new, said.group, RULES, said.allowed, 8)
        found = [row_of[item] for item in answer["item_id"][user].numpy() if item]
        np.testing.assert_allclose(scores[found], scores[expected], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            answer["score"][user].numpy()[: len(found)], scores[found], rtol=1e-4, atol=1e-4
        )
        assert served.table.is_new[found].sum() >= 3
        assert said.allowed[found].all()


def test_what_the_rules_shut_out_is_not_named_as_similar_but_is_scored(ruled, goods):
    alike = ruled.similar_items(tf.constant([item_id(0)]), tf.constant(SIZE))
    allowed = rule(RULES, goods, now=NOW).allowed
    named = set(alike["item_id"].numpy()[0])
    assert named == set(goods.item[allowed]) - {item_id(0)}
    blocked = tf.constant([item_id(1)])
    score = ruled.score(tf.constant(["x"]), tf.zeros([1, 0], tf.string), tf.constant([""]), blocked)
    assert np.isfinite(score["score"].numpy()).all()


def test_k_below_1_is_refused_under_rules_too(ruled):
    for k in (0, -20):
        with pytest.raises(tf.errors.InvalidArgumentError, match="k must be at least 1"):
            ruled.recommend(
                tf.constant([user_id(1)]), tf.zeros([1, 0], tf.string), tf.constant([""]),
                tf.constant(k), tf.constant(False),
            )  # fmt: skip


def test_a_k_over_the_catalogue_is_answered_with_what_there_is_under_rules_too(ruled):
    user = tf.constant([user_id(1)]), tf.zeros([1, 0], tf.string), tf.constant([""])
    whole, more = (
        ruled.recommend(*user, tf.constant(k), tf.constant(False)) for k in (SIZE, 2**31 - 1)
    )
    assert whole["item_id"].shape[1] > 3
    for name, expected in whole.items():
        np.testing.assert_array_equal(more[name], expected)


def test_later_products_are_ruled_as_those_of_the_training(served, shop, goods, ruled):
    model = SimpleNamespace(_shelf=ruled._shelf)
    new = product(shop, 7, item="brand-new", category=" CUP", brand="Acme", price=3.0)
    moved = product(shop, 3, price=40.0)
    placed = place(
        model,
        Admission.load(served.path, model._shelf),
        [new, moved],
        describe(served.loaded, [new, moved]),
        RULES,
    )
    columns = placed.columns
    assert not columns["rules.allowed"][SIZE]
    assert columns["rules.boost"][SIZE] == pytest.approx(np.log(2))
    cups = rule(RULES, goods, now=NOW).group[goods.category == b"cup"]
    assert columns["rules.group"][SIZE] == cups[0]
    [row] = np.flatnonzero(goods.item == item_id(3))
    assert not columns["rules.allowed"][row]
    others = np.setdiff1d(np.arange(SIZE), [row])
    np.testing.assert_array_equal(
        columns["rules.allowed"][others], ruled._shelf.rules.allowed.numpy()[others]
    )


BACK_OFF = Rules.model_validate(
    {"back_off": {"words": 2, "least": 3, "parents": {"cup": "light", "mug": "nothing"}}}
)


def test_a_later_product_of_few_words_is_scored_as_its_category(served, shop, goods):
    said = rule(BACK_OFF, goods, now=NOW)
    shelf = Shelf(replace(served.data, rules=said), user_ids=served.path / "assets" / "users.txt")
    thin = product(shop, 7, item="thin", title="cup", category="CUP", description="")
    lost = product(shop, 7, item="lost", title="cup", category="mug", description="")
    told = product(shop, 7, item="told", category="cup")
    products = [thin, lost, told]
    described = describe(served.loaded, products)
    admission = Admission.load(served.path, shelf)

    def placed(rules, shelf):
        return place(SimpleNamespace(_shelf=shelf), admission, products, described, rules).columns

    found, plain = placed(BACK_OFF, shelf), placed(None, served.module._shelf)
    source, weight = found["served.source"], found["served.anchor_weight"].astype(np.float32)
    anchors = len(served.data.served.reference_weight)
    sold = [row for row in range(SIZE) if source[row] < anchors and goods.category[row] == b"cup"]
    lists = source[SIZE : SIZE + 3]
    lent = found["served.anchor_index"][lists[0]][weight[lists[0]] > 0]
    assert len(lent) == min(len(sold), weight.shape[1])
    assert set(lent) <= {source[row] for row in sold}
    np.testing.assert_allclose(weight[lists[0]][weight[lists[0]] > 0], 1 / len(lent), rtol=1e-3)
    for later in lists[1:]:
        np.testing.assert_array_equal(weight[later], plain["served.anchor_weight"][later])


def test_items_of_few_words_inherit_from_their_category_when_the_shelf_is_filled(
    served, goods, purchases
):
    rules = Rules.model_validate({"back_off": {"words": 99, "least": 3}})
    said = rule(rules, goods, now=NOW)
    bought = sp.csr_matrix(purchases.astype(np.float32))
    popularity = purchases.sum(axis=0).astype(np.int64)
    known = SimulatedLaunch.hide(
        bought, targets=np.zeros(0, np.int64), anchors=np.flatnonzero(popularity),
        regularization=4.0,
    )  # fmt: skip
    made = inherit(
        known, served.view, Aligner.of(known, served.view, served.settings),
        embedding=served.data.embedding.astype(np.float32), quality=served.data.served.quality,
        popularity=popularity, covered=np.ones(SIZE, bool), offered=np.ones(SIZE, bool),
        per_item=5, rules=said,
    )  # fmt: skip
    scores = purchases[:, known.anchors] @ known.teacher
    heirs = [row for row in np.flatnonzero(popularity == 0) if goods.category[row]]
    assert len(heirs) > 2
    for row in heirs:
        members = np.flatnonzero(goods.category[known.anchors] == goods.category[row])
        best = members[np.argsort(-popularity[known.anchors[members]], kind="stable")][:5]
        index, weight = made.lists(np.array([row]))
        np.testing.assert_allclose(
            scores[:, index[0]] @ weight[0], scores[:, best].mean(axis=1), rtol=1e-2, atol=1e-4
        )


def test_dates_are_taken_up_when_a_version_is_made(goods, monkeypatch):
    rules = Rules.model_validate({"dates": [{"categories": ["cup"], "last": "2026-12-24"}]})
    before = rule(rules, goods, now=NOW)
    columns = {name: tf.Variable(getattr(before, name)) for name in ("passes", "first", "end")}
    model = SimpleNamespace(_shelf=SimpleNamespace(rules=SimpleNamespace(**columns)))
    for now, gone in ((NOW, True), (1_766_000_000, False)):
        monkeypatch.setattr("models.shelf.newcomers.time.time", lambda now=now: now)
        allowed = refreshed(model)["rules.allowed"]
        assert (allowed[goods.category == b"cup"] == (not gone)).all()
        assert allowed[goods.category != b"cup"].all()


def test_a_version_of_which_nothing_may_be_recommended_today_is_refused(goods, monkeypatch):
    rules = Rules.model_validate(
        {"allow": {"categories": ["cup"]}, "dates": [{"categories": ["cup"], "last": "2026-12-24"}]}
    )
    before = rule(rules, goods, now=NOW)
    columns = {name: tf.Variable(getattr(before, name)) for name in ("passes", "first", "end")}
    available = tf.Variable(np.ones(len(goods.item), np.bool_))
    model = SimpleNamespace(
        _shelf=SimpleNamespace(rules=SimpleNamespace(**columns), available=available)
    )
    monkeypatch.setattr("models.shelf.newcomers.time.time", lambda: NOW)
    with pytest.raises(BadInput, match="leave nothing to recommend, so nothing was pushed"):
        of_today(model)
    monkeypatch.setattr("models.shelf.newcomers.time.time", lambda: 1_766_000_000)
    assert of_today(model)["rules.allowed"].any()
    # What the rules let through is not on sale.
    available.assign(goods.category != b"cup")
    on_sale = (goods.category != b"cup").sum()
    with pytest.raises(BadInput, match=f"of {on_sale} items on sale the rules leave nothing"):
        of_today(model)


@branches_as_calls()
def asked_by_the_gate(model):
    """Three signatures of the eleven: to trace the others takes half a minute."""
    text, table = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)
    user = {"user_id": text, "history": table, "profile": text}
    k, flag = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.bool)
    inputs = {
        "recommend": user | {"k": k, "new_only": flag},
        "score": user | {"item_id": text},
        "similar_items": {"item_id": text, "k": k},
    }
    return {
        name: tf.function(getattr(model, name), autograph=False).get_concrete_function(
            **{key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in specs.items()}
        )
        for name, specs in inputs.items()
    }


def test_a_refresh_takes_up_the_day_without_training(ruled, served, goods, tmp_path, monkeypatch):
    RecordedRoot(tmp_path).run()
    base = serving_folder(tmp_path) / "1"
    save_graph(ruled, base, asked_by_the_gate(ruled))
    (base / FILE.parent).mkdir()
    shutil.copy(served.path / FILE, base / FILE)
    RULES.save(base)

    def offered(similar_items):
        answer = similar_items(item_id=tf.constant([item_id(0)]), k=tf.constant(SIZE))
        return set(answer["item_id"].numpy()[0])

    monkeypatch.setattr("models.shelf.newcomers.time", SimpleNamespace(time=lambda: LATER))
    result = CliRunner().invoke(main, ["items", "refresh", "--root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    newest, one = versions_on_disk(base.parent)
    assert one == 1 and f"{newest}, made of version 1." in result.output
    candidate = base.with_name(str(newest))
    later = tf.saved_model.load(str(candidate))
    lights = set(goods.item[goods.category == b"light"])
    before, after = offered(ruled.similar_items), offered(later.signatures["similar_items"])
    assert before & lights and not after & lights
    assert before - after <= lights
    assert Rules.load(candidate) == RULES
    shelf = later._shelf
    allowed = shelf.rules.allowed.numpy()
    counts = np.diff(shelf.buyers.offset.numpy()) * ~shelf.is_new.numpy()
    expected = in_turns(counts, shelf.served.log_popularity.numpy(), allowed)
    assert not allowed.all() and np.argsort(-shelf.served.fallback.numpy()).tolist() == expected
