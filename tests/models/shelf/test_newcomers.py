"""Products that come to the shelf after the training, beside the same that were there from then."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from components.catalogue import beam_describing, describing
from components.catalogue.describing import describe_products
from models.export.served import ServedModel
from models.inheritance.kernel import place_beside, place_in_order
from models.interactions import PAD
from models.products import Product, describe
from models.rules import Goods
from models.shelf.admission import Admission
from models.shelf.id_index import sort_ids
from models.shelf.intake import assign, take_in
from models.shelf.newcomers import place, reordered, withdraw
from models.shelf.shelf import Shelf
from tests.components.ingestion.helpers import IN_MEMORY
from tests.models.conftest import MODEL_OPTIONS, fill
from tests.models.export.test_adapter import SUPPORTS, interactions, scores
from tests.models.oracle import ROUNDED, in_turns
from tests.models.shop import NUM_USERS, SIZE, THEMES, item_id, user_id
from tests.portable.protos import recorded, unportable

USERS = [user_id(user).decode() for user in range(NUM_USERS)]
# In the order of ids one stands in the middle, one at the end.
LATE = [19, 59]


def product(shop, number, **changes):
    """An item of the shop as a file names it."""
    raw = shop.items[number]
    texts = {name: raw[name][0].decode() for name in ("title", "category", "brand", "description")}
    price = raw["price"][0] if raw["price"] else None
    values = {"item": item_id(number).decode(), **texts, "price": price, "available": None}
    return Product(**(values | changes))


def rows_of(table, numbers):
    ids = table.ids.tolist()
    return np.array([ids.index(item_id(number)) for number in numbers])


@pytest.fixture(scope="module")
def admission(served):
    return Admission.load(served.path, served.module._shelf)


@pytest.fixture(scope="module")
def late(shop, served, tmp_path_factory):
    """The shop filled without some new products, and what adding them gives: shelf, placed."""
    folder = tmp_path_factory.mktemp("late")
    keep = np.setdiff1d(np.arange(SIZE), rows_of(served.table, LATE))
    columns = {field.name: getattr(served.table, field.name) for field in fields(served.table)}
    goods = columns.pop("goods")
    table = replace(
        served.table,
        goods=Goods(*(column[keep] for column in goods)),
        **{name: column[keep] for name, column in columns.items()},
    )
    data, admission = fill(
        shop, table, served.model, served.features[keep], table.view(served.view.text[keep]),
        served.profiles,
    )  # fmt: skip
    admission.save(folder)
    (folder / "users.txt").write_text("".join(f"{user}\n" for user in USERS))
    model = SimpleNamespace(_shelf=Shelf(data, user_ids=folder / "users.txt"))
    products = [product(shop, number) for number in LATE]
    admitted = Admission.load(folder, model._shelf)
    placed = place(model, admitted, products, describe(served.loaded, products))
    return data, model, placed


def test_scores_of_the_users_who_choose_are_those_by_the_shelf(served, admission):
    choices, teacher = admission.choices, served.data.served.anchor_teacher
    assert choices.history.nnz
    np.testing.assert_allclose(
        choices.scores, choices.history.toarray().astype(float) @ teacher, rtol=1e-5, atol=1e-6
    )


def test_a_product_is_described_as_transform_and_the_encoder_saw_it(shop, served):
    numbers = [3, 14, 59, 0]
    rows = rows_of(served.table, numbers)
    found = describe(served.loaded, [product(shop, number) for number in numbers])
    view = served.view.rows(rows)
    np.testing.assert_allclose(found.text, view.text, atol=1e-5)
    np.testing.assert_allclose(
        found.embedding, served.data.embedding[rows].astype(float), atol=ROUNDED
    )
    np.testing.assert_allclose(found.price, view.price, atol=1e-5)
    np.testing.assert_array_equal(found.brand, view.brand)
    terms = found.terms.copy()
    terms.resize(view.terms.shape)
    np.testing.assert_allclose(terms.toarray(), view.terms.toarray(), atol=1e-6)


def test_many_products_are_described_by_beam_as_few_are_here(shop, served, tmp_path, monkeypatch):
    products = [product(shop, number) for number in (5, 3, 14, 59, 0)]
    few = describe_products(served.path, served.loaded, products, [], place=tmp_path)
    monkeypatch.setattr(describing, "FEW", 2)
    monkeypatch.setattr(beam_describing, "_BATCH", 2)
    with recorded() as protos:
        many = describe_products(served.path, served.loaded, products, IN_MEMORY, place=tmp_path)
    assert not list(tmp_path.iterdir())
    # And a cluster could do it too.
    assert [unportable(proto) for proto in protos] == [[]]
    assert few is not None and many is not None
    np.testing.assert_allclose(many.terms.toarray(), few.terms.toarray(), atol=1e-6)
    for name in ("embedding", "text", "price", "brand"):
        np.testing.assert_allclose(getattr(many, name), getattr(few, name), atol=1e-5)


def dense(index, weight, anchors):
    place = np.repeat(np.arange(len(index)), index.shape[1])
    values = weight.astype(np.float32).ravel()
    return sp.csr_matrix((values, (place, index.ravel())), (len(index), anchors)).toarray()


def test_a_late_product_inherits_as_if_it_had_been_there_from_the_start(served, late):
    """Up to what an item more changes in the scales: the order of ids, the number of choices."""
    data, _, placed = late
    now = placed.columns
    there = rows_of(served.table, LATE)
    known = served.data.served
    scored = []
    for index, weight, teacher in (
        (*known.lists(there), known.anchor_teacher),
        (
            now["served.anchor_index"][now["served.source"][placed.new]],
            now["served.anchor_weight"][now["served.source"][placed.new]],
            data.served.anchor_teacher,
        ),
    ):
        histories = np.zeros((NUM_USERS, len(teacher)), np.float32)
        for user in range(NUM_USERS):
            rows = data.user_items[data.user_offset[user] : data.user_offset[user + 1]]
            places = data.served.source[rows]
            histories[user, places[places < len(teacher)]] = 1
        scored.append(histories @ teacher @ dense(index, weight, len(teacher)).T)
    before, after = scored
    assert np.abs(before - after).max() < 0.05 * before.std()
    for name, tolerance in {"quality": 0.01, "log_popularity": 0.02}.items():
        np.testing.assert_allclose(
            now[f"served.{name}"][placed.new], getattr(known, name)[there], atol=tolerance
        )
    np.testing.assert_allclose(
        now["evidence.expected_share"][placed.new],
        served.data.evidence.expected_share[there],
        atol=0.3,
    )
    np.testing.assert_allclose(
        now["embedding"][placed.new], served.data.embedding[there].astype(float), atol=ROUNDED
    )


def test_no_column_of_an_old_item_changes(late):
    data, _, placed = late
    now, old = placed.columns, len(data.item_id)
    for name in ("item_id", "embedding", "is_new", "is_cold", "available"):
        np.testing.assert_array_equal(now[name][:old], getattr(data, name), err_msg=name)
    for lender in ("served", "judged"):
        columns = getattr(data, lender)
        for name in ("source", "demand", "quality", "log_popularity"):
            np.testing.assert_array_equal(now[f"{lender}.{name}"][:old], getattr(columns, name))
    lists = len(data.served.anchor_index)
    for name in ("anchor_index", "anchor_weight"):
        np.testing.assert_array_equal(now[f"served.{name}"][:lists], getattr(data.served, name))
    np.testing.assert_array_equal(now["served.fallback"][:old], data.served.fallback)
    for known, row in zip(*sort_ids(now["item_id"]), strict=True):
        assert now["id_row"][np.searchsorted(now["id_fingerprint"], known)] == row


def test_a_list_for_somebody_unknown_is_what_it_would_have_been(served, late):
    _, model, placed = late
    assign(model, placed.columns)
    now = placed.columns | reordered(model)
    order = now["item_id"][np.argsort(-now["served.fallback"])]
    known = served.table.ids[np.argsort(-served.data.served.fallback)]
    assert order.tolist() == known.tolist()


def test_in_the_evaluation_a_late_product_has_nothing(late):
    data, _, placed = late
    now = placed.columns
    assert (now["judged.source"][placed.new] == len(data.judged.anchor_teacher)).all()
    assert now["is_new"][placed.new].all() and now["is_cold"][placed.new].all()


def test_a_changed_text_realigns_a_new_product_and_leaves_an_anchor_what_it_lends(
    shop, served, model, admission
):
    new, anchor = 9, int(shop.item[0])
    texts = {"title": f"red glass {THEMES[3]}", "category": "bag"}
    products = [product(shop, number, **texts) for number in (new, anchor)]
    (new_row, anchor_row) = rows_of(served.table, (new, anchor))
    before = scores(model, range(NUM_USERS))
    placed = place(model, admission, products, describe(model, products))
    assert placed.realigned.tolist() == [new_row] and placed.anchors.tolist() == [anchor_row]
    assert not len(placed.new) and not len(placed.heard)
    assign(model, placed.columns)
    after = scores(model, range(NUM_USERS))
    others = np.setdiff1d(np.arange(SIZE), [new_row])
    np.testing.assert_allclose(after[:, others], before[:, others], atol=1e-6)
    # Its own theme wants it less, that of its new name more.
    own, named = (np.arange(NUM_USERS) % len(THEMES) == theme for theme in (0, 3))
    change = after[:, new_row] - before[:, new_row]
    assert change[own].mean() < 0 < change[named].mean()
    for row, raw in zip((new_row, anchor_row), products, strict=True):
        expected = describe(model, [raw]).embedding[0]
        np.testing.assert_allclose(
            model._shelf.embedding.numpy()[row].astype(float), expected, atol=ROUNDED
        )


def test_the_same_product_again_changes_nothing(shop, served, model, admission):
    users = range(NUM_USERS)
    before = scores(model, users)
    products = [product(shop, number) for number in range(SIZE)]
    assign(model, place(model, admission, products, describe(model, products)).columns)
    np.testing.assert_allclose(scores(model, users), before, atol=0.02)
    assign(model, reordered(model))
    np.testing.assert_allclose(
        model._shelf.served.fallback.numpy(), served.data.served.fallback, atol=1e-6
    )


def test_a_product_with_evidence_keeps_its_anchors_and_moves_with_its_new_text(
    shop, served, as_saved, admission
):
    number, model = 9, as_saved()
    (row,) = rows_of(served.table, [number])
    assign(model, take_in(model, USERS, interactions(served, {row: SUPPORTS[3]})).columns)
    heard = scores(model, [5, 6])
    products = [product(shop, number, title="black sign")]
    placed = place(model, admission, products, describe(model, products))
    assert placed.heard.tolist() == [row] and not len(placed.realigned)
    assign(model, placed.columns)
    again = take_in(model, USERS, [], again=placed.heard)
    assign(model, again.columns)
    np.testing.assert_allclose(scores(model, [5, 6]), heard, atol=1e-5)
    moved = model._shelf.embedding.numpy()[row].astype(float)
    # As if it had had the text before its first interactions.
    model = as_saved()
    embedding = model._shelf.embedding.numpy()
    embedding[row] = describe(model, products).embedding[0]
    model._shelf.embedding.assign(embedding)
    assign(model, take_in(model, USERS, interactions(served, {row: SUPPORTS[3]})).columns)
    np.testing.assert_allclose(
        model._shelf.embedding.numpy()[row].astype(float), moved, atol=ROUNDED
    )


@pytest.fixture(scope="module")
def beyond(shop, served, tmp_path_factory):
    """A shop with fewer anchors than items of training: its model, and a row that is none."""
    folder = tmp_path_factory.mktemp("beyond")
    data, admission = fill(
        shop, served.table, served.model, served.features, served.view, served.profiles,
        options=MODEL_OPTIONS.model_copy(update={"max_anchors": 20}),
    )  # fmt: skip
    (folder / "users.txt").write_text("".join(f"{user}\n" for user in USERS))
    shelf = Shelf(data, user_ids=folder / "users.txt")
    module = ServedModel(**served.parts | {"shelf": shelf}, chance=None)
    model = SimpleNamespace(_shelf=shelf, signatures={"adapt_items": module.adapt_items})
    row = np.flatnonzero((data.served.anchor_of < 0) & ~data.is_new)[0]
    return data, admission, model, row


def test_an_item_of_training_that_is_no_anchor_is_not_adapted(served, beyond):
    _, _, model, row = beyond
    new = np.flatnonzero(served.data.is_new)[0]
    intake = take_in(model, USERS, interactions(served, {row: SUPPORTS[0], new: SUPPORTS[0]}))
    assert intake.of_training.tolist() == [row]
    assert intake.adapted.tolist() == [new]


def test_an_item_of_training_that_is_no_anchor_keeps_what_its_ratings_say(shop, served, beyond):
    data, admission, model, row = beyond
    number = int(data.item_id[row].removeprefix(b"item-"))
    products = [product(shop, number, title="black sign")]
    placed = place(model, admission, products, describe(served.loaded, products))
    quality = placed.columns["served.quality"]
    np.testing.assert_array_equal(quality, data.served.quality)
    assert placed.realigned.tolist() == [row]


def test_first_interactions_of_a_product_that_came_with_them(shop, served, model, admission):
    products = [product(shop, 9, item="late", title="gold hanging tea cup")]
    placed = place(model, admission, products, describe(model, products))
    assign(model, placed.columns)
    (row,) = placed.new
    served_now = SimpleNamespace(table=SimpleNamespace(ids=model._shelf.item_id.numpy()))
    intake = take_in(model, USERS, interactions(served_now, {row: SUPPORTS[3]}))
    assign(model, intake.columns)
    assert intake.adapted.tolist() == [row]
    assert model._shelf.evidence.of.numpy()[row] == 0
    assert model._shelf.evidence.count.numpy()[0, 0] == len(SUPPORTS[3])


def test_a_withdrawn_product_is_in_no_list_and_still_counts(shop, served, model, admission):
    gone = int(shop.item[0])
    (row,) = rows_of(served.table, [gone])
    before = scores(model, range(8))
    assign(model, withdraw(model, [item_id(gone).decode()]))
    recommended = model.signatures["recommend"](
        user_id=tf.constant([*USERS, ""]), history=tf.zeros([NUM_USERS + 1, 0], tf.string),
        profile=tf.fill([NUM_USERS + 1], ""), k=tf.constant(SIZE), new_only=tf.constant(False),
    )  # fmt: skip
    alike = model.signatures["similar_items"](
        item_id=tf.constant([item_id(gone + 1)]), k=tf.constant(SIZE)
    )
    assert item_id(gone) not in recommended["item_id"].numpy()
    assert item_id(gone) not in alike["item_id"].numpy()
    assert len(alike["item_id"][0]) == SIZE - 2
    np.testing.assert_allclose(scores(model, range(8)), before, atol=1e-6)
    # It comes back where a file says so, and only then.
    for available, expected in ((None, False), (True, True), (False, False)):
        products = [product(shop, gone, available=available)]
        assign(model, place(model, admission, products, describe(model, products)).columns)
        assert model._shelf.available.numpy()[row] == expected


def told_to_nobody(model):
    answer = model.signatures["recommend"](
        user_id=tf.constant([""]), history=tf.zeros([1, 0], tf.string), profile=tf.constant([""]),
        k=tf.constant(SIZE), new_only=tf.constant(False),
    )  # fmt: skip
    return [item for item in answer["item_id"][0].numpy() if item]


def test_somebody_unknown_is_told_of_a_new_product_on_every_fifth_place_whatever_is_withdrawn(
    shop, served, model, admission
):
    table, data = served.table, served.data
    counts = np.diff(data.buyers.offset) * ~data.is_new
    before = told_to_nobody(model)
    order = in_turns(counts, data.served.log_popularity, np.ones(SIZE, bool))
    new, sold = ([row for row in order if table.is_new[row] == kind] for kind in (True, False))
    gone = np.array([*new[:3], *sold[:2]])
    assign(model, withdraw(model, [item.decode() for item in table.ids[gone]]))
    assign(model, reordered(model))
    offered = ~np.isin(np.arange(SIZE), gone)
    expected = in_turns(counts, data.served.log_popularity, offered)
    assert told_to_nobody(model) == table.ids[expected[: SIZE - len(gone)]].tolist()
    assert [told_to_nobody(model)[place] in table.ids[new] for place in (1, 2, 7)] == [0, 1, 1]
    # What comes back stands where it stood.
    numbers = [int(item.removeprefix(b"item-")) for item in table.ids[gone]]
    products = [product(shop, number, available=True) for number in numbers]
    assign(model, place(model, admission, products, describe(model, products)).columns)
    assign(model, reordered(model))
    assert told_to_nobody(model) == before


def test_places_of_later_ids_lie_between_those_of_training():
    ids = [b"10", b"30", b"20", b"40"]
    later = [b"25", b"45", b"26", b"5", b"100", b"50", b"x-1", b"7"]
    found = place_beside([*ids, *later], len(ids)) * 3
    np.testing.assert_allclose(found, [1 + 1 / 3, 4, 1 + 2 / 3, -2, 6, 5, 7, -1], rtol=1e-6)
    # By their bytes where training had names.
    names = [b"2x", b"c", b"b"]
    np.testing.assert_allclose(place_beside([*names, b"bb", b"3"], 3) * 2, [1.5, 0.5], rtol=1e-6)
    assert place_in_order(np.array(names, object)).tolist() == [0, 1, 0.5]


def test_ids_that_are_padding_stay_unknown(late):
    _, model, placed = late
    assign(model, placed.columns)
    found = model._shelf.item_rows(tf.constant(["", "no-such", item_id(LATE[0]).decode()])).numpy()
    assert found.tolist()[:2] == [PAD, PAD] and found[2] == placed.new[0]
