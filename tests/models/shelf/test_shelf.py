import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.errors import BadInput
from models.inheritance.anchors import fallback_logits
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.rules import Rules, rule
from models.shelf.blank import blank_shelf
from models.shelf.id_index import sort_ids
from models.shelf.shelf import Shelf
from tests.models.conftest import MODEL_OPTIONS, fill
from tests.models.oracle import ROUNDED, in_turns
from tests.models.shop import NUM_USERS, SIZE, item_id


def order_of(interactions, popularity, not_offered=()):
    offered = ~np.isin(np.arange(len(interactions)), not_offered)
    logits = fallback_logits(np.array(interactions), np.array(popularity, np.float32), offered)
    order = np.argsort(-logits)
    np.testing.assert_allclose(logits[order], -np.log(np.arange(1, len(logits) + 1)), rtol=1e-6)
    return order.tolist()


def test_every_fifth_place_of_the_fallback_is_a_new_product():
    interactions = [9, 8, 7, 6, 5, 4, 3, 2, 0, 0, 0]
    popularity = [0] * 8 + [0.1, 0.3, 0.2]
    assert order_of(interactions, popularity) == [0, 1, 9, 2, 3, 4, 5, 10, 6, 7, 8]


def test_what_is_not_offered_takes_no_place_of_the_fallback():
    interactions = [9, 8, 7, 6, 5, 4, 3, 2, 0, 0, 0]
    popularity = [0] * 8 + [0.1, 0.3, 0.2]
    order = order_of(interactions, popularity, not_offered=(1, 9))
    assert order == [0, 2, 10, 3, 4, 5, 6, 8, 7, 1, 9]


def test_where_most_new_products_are_not_on_sale_the_others_have_every_fifth_place():
    random = np.random.default_rng(3)
    interactions = random.permutation(np.repeat([0, 1], 1000)) * random.integers(1, 99, size=2000)
    new = np.flatnonzero(interactions == 0)
    gone = random.choice(new, 900, replace=False)
    order = order_of(interactions, random.random(2000), not_offered=gone)
    on_sale = np.setdiff1d(new, gone)
    assert np.flatnonzero(np.isin(order[:20], on_sale)).tolist() == [2, 7, 12, 17]
    assert np.flatnonzero(np.isin(order, on_sale)).tolist() == [2 + 5 * n for n in range(100)]
    assert set(order[1100:]) == set(gone)


def test_the_shelf_tells_somebody_unknown_what_is_on_sale_and_passes_the_rules(served, shop):
    table, counts = served.table, np.diff(served.data.buyers.offset)
    is_sold = ~table.is_new
    gone = [np.flatnonzero(table.is_new)[:2], np.flatnonzero(is_sold)[4:7]]
    blocked = [np.flatnonzero(table.is_new)[3:4], np.flatnonzero(is_sold)[8:10]]
    available, allowed = (
        ~np.isin(np.arange(SIZE), np.concatenate(rows)) for rows in (gone, blocked)
    )
    ids = [item.decode() for item in table.ids[~allowed]]
    rules = rule(Rules.model_validate({"block": {"items": ids}}), table.goods, now=0)
    data, _ = fill(
        shop, dataclasses.replace(table, available=available), served.model, served.features,
        served.view, served.profiles, rules=rules,
    )  # fmt: skip
    order = np.argsort(-data.served.fallback)
    expected = in_turns(counts * is_sold, data.served.log_popularity, available & allowed)
    assert order.tolist() == expected
    # The evaluation ranks the others as well.
    np.testing.assert_array_equal(data.judged.fallback, served.data.judged.fallback)


def test_the_fallback_of_a_shop_with_only_old_or_only_new_products():
    assert order_of([1, 5, 3], [9, 0, 0]) == [1, 2, 0]
    assert order_of([0, 0, 0], [0.2, 0.1, 0.3]) == [2, 0, 1]


@pytest.mark.parametrize("which", ["served", "judged"])
def test_a_seen_item_inherits_from_itself_and_any_other_from_several(served, which):
    columns = getattr(served.data, which)
    unseen = served.table.is_new if which == "served" else served.table.is_cold
    anchors = np.flatnonzero(~unseen)
    assert columns.anchor_of[anchors].tolist() == list(range(len(columns.anchor_teacher)))
    assert (columns.anchor_of[unseen] == PAD).all()
    index, weight = columns.lists(np.arange(SIZE))
    assert index[anchors, 0].tolist() == columns.anchor_of[anchors].tolist()
    assert (weight[anchors] == [1.0, *[0.0] * (weight.shape[1] - 1)]).all()
    heirs = np.flatnonzero(unseen if which == "served" else unseen & ~served.table.is_new)
    assert (np.count_nonzero(weight[heirs], axis=1) > 1).all()
    assert all(len(set(index[row])) == index.shape[1] for row in heirs)
    assert index.min() >= 0 and index.max() < len(anchors)


def test_a_product_that_nobody_bought_has_no_part_in_what_is_judged(served):
    _, weight = served.data.judged.lists(np.flatnonzero(served.table.is_new))
    assert len(weight) and not weight.any()


@pytest.mark.parametrize("which", ["served", "judged"])
def test_the_graph_reads_the_same_lists(served, which):
    columns = getattr(served.data, which)
    graph, rows = Inherited(columns), np.arange(SIZE)
    for found, expected in zip(graph.lists(tf.constant(rows)), columns.lists(rows), strict=True):
        np.testing.assert_array_equal(found, expected)
    asked = tf.constant([[PAD, 3], [SIZE - 1, PAD]])
    padded = [PAD if row == PAD else columns.anchor_of[row] for row in asked.numpy().ravel()]
    assert graph.anchors(asked).numpy().ravel().tolist() == padded
    scores = np.random.default_rng(0).normal(size=(2, len(columns.anchor_teacher)))
    index, weight = columns.lists(rows)
    lent = (scores[:, index] * weight).sum(axis=2)
    scores = tf.constant(scores, tf.float32)
    np.testing.assert_allclose(graph.lent_to_all(scores), lent, rtol=1e-4, atol=1e-5)
    of_each = tf.constant([[5, 9], [9, 2]])
    np.testing.assert_allclose(
        graph.lent_at(scores, of_each),
        np.take_along_axis(lent, of_each.numpy(), axis=1), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_a_user_keeps_every_purchase_of_all_splits(served, shop):
    data = served.data
    assert len(data.user_offset) == NUM_USERS + 1
    for user in range(NUM_USERS):
        rows = data.user_items[data.user_offset[user] : data.user_offset[user + 1]]
        ids = {item_id(item) for item in shop.item[shop.user == user]}
        ids |= {item_id(item) for who, item in shop.held_out if who == user}
        assert {served.table.ids[row] for row in rows} == ids


def test_embeddings_have_unit_length(served):
    length = np.linalg.norm(served.data.embedding.astype(float), axis=1)
    np.testing.assert_allclose(length, 1.0, atol=2 * ROUNDED)


@pytest.fixture
def shelf(served, tmp_path):
    """Five items whose ids are hard to keep apart."""
    ids = [b"007", b"7", b" 7", b"two words", "红茶".encode()]
    (tmp_path / "users").write_bytes(b"u\n")
    fingerprint, row = sort_ids(np.array(ids, object))
    data = dataclasses.replace(
        served.data, item_id=np.array(ids, object), id_fingerprint=fingerprint, id_row=row
    )
    return Shelf(data, user_ids=tmp_path / "users"), ids


def test_ids_and_rows_are_each_others_inverse(shelf):
    made, ids = shelf
    rows = made.item_rows(tf.constant([ids[::-1]]))
    assert rows.numpy().tolist() == [[4, 3, 2, 1, 0]]
    assert made.item_ids(rows).numpy().tolist() == [ids[::-1]]


def test_an_unknown_id_and_padding_have_no_row_and_no_row_has_the_empty_id(shelf):
    made, ids = shelf
    assert made.item_rows(tf.constant([b"", b"07", b"7 "])).numpy().tolist() == [PAD] * 3
    assert made.user_rows(tf.constant([b"", b"u", b"v"])).numpy().tolist() == [PAD, 0, PAD]
    assert made.item_ids(tf.constant([PAD, 0])).numpy().tolist() == [b"", ids[0]]


def test_a_large_catalogue_keeps_a_quarter_of_each_list_but_one_at_least():
    options = MODEL_OPTIONS.model_copy(update={"anchors_per_item": 6})
    assert [options.anchors_in(items) for items in (1, 16384, 16385)] == [6, 6, 1]
    assert options.model_copy(update={"anchors_per_item": 1}).anchors_in(10**6) == 1


def test_lists_may_become_shorter_after_they_were_built(served):
    columns = Inherited(served.data.served)
    for column in (columns.anchor_index, columns.anchor_weight):
        column.assign(column[:, :2])
    index, weight = served.data.served.lists(np.arange(SIZE))
    scores = np.random.default_rng(0).normal(size=(1, len(served.data.served.anchor_teacher)))
    expected = (scores[:, index] * weight)[..., :2].sum(axis=2)
    found = columns.lent_to_all(tf.constant(scores, tf.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_two_ids_that_look_alike_to_the_index_are_refused_by_name():
    with pytest.raises(BadInput, match="b'same'"):
        sort_ids(np.array([b"one", b"same", b"same"], object))


def test_every_column_may_grow_after_it_was_built(served, tmp_path):
    (tmp_path / "users").write_bytes(b"u\n")
    made = Shelf(served.data, user_ids=tmp_path / "users")
    for columns, data in (
        (made, served.data), (made.served, served.data.served), (made.judged, served.data.judged),
        (made.evidence, served.data.evidence), (made.buyers, served.data.buyers),
    ):  # fmt: skip
        for column in dataclasses.fields(data):
            value = getattr(data, column.name)
            if value is None or dataclasses.is_dataclass(value):
                continue
            variable = getattr(columns, column.name)
            assert variable.shape[0] is None
            np.testing.assert_array_equal(variable, value)
            one = value[:1] if len(value) else np.zeros((1, *value.shape[1:]), value.dtype)
            variable.assign(np.concatenate([value, one]))
            assert len(variable.numpy()) == len(value) + 1


def test_a_blank_shelf_that_is_filled_is_the_shelf(served, tmp_path):
    (tmp_path / "users").write_bytes(b"u\n")
    data = served.data
    blank = blank_shelf(
        size=data.embedding.shape[1], served=len(data.served.anchor_teacher),
        judged=len(data.judged.anchor_teacher), rules=data.rules,
    )  # fmt: skip
    made, filled = (Shelf(d, user_ids=tmp_path / "users") for d in (data, blank))
    assert len(filled.variables) == len(made.variables)
    for one, other in zip(filled.variables, made.variables, strict=True):
        assert (one.name, one.dtype) == (other.name, other.dtype)
        assert one.shape.as_list() == other.shape.as_list()  # all that a graph knows of it
    filled.fill(data)
    for one, other in zip(filled.variables, made.variables, strict=True):
        np.testing.assert_array_equal(one, other)
