import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.inheritance import fallback_logits
from models.interactions import PAD
from models.shelf import Shelf
from tests.models.shop import NUM_USERS, item_id


def order_of(interactions, popularity):
    logits = fallback_logits(np.array(interactions), np.array(popularity, np.float32))
    order = np.argsort(-logits)
    np.testing.assert_allclose(logits[order], -np.log(np.arange(1, len(logits) + 1)), rtol=1e-6)
    return order.tolist()


def test_every_fifth_place_of_the_fallback_is_a_new_product():
    interactions = [9, 8, 7, 6, 5, 4, 3, 2, 0, 0, 0]
    popularity = [0] * 8 + [0.1, 0.3, 0.2]
    assert order_of(interactions, popularity) == [0, 1, 9, 2, 3, 4, 5, 10, 6, 7, 8]


def test_the_fallback_of_a_shop_with_only_old_or_only_new_products():
    assert order_of([1, 5, 3], [9, 0, 0]) == [1, 2, 0]
    assert order_of([0, 0, 0], [0.2, 0.1, 0.3]) == [2, 0, 1]


@pytest.mark.parametrize("which", ["served", "judged"])
def test_a_seen_item_inherits_from_itself_and_any_other_from_several(served, which):
    columns = getattr(served.data, which)
    unseen = served.table.is_new if which == "served" else served.table.is_cold
    anchors = np.flatnonzero(~unseen)
    width = columns.anchor_weight.shape[1]
    assert columns.anchor_index.min() >= 0
    assert columns.anchor_index.max() < len(anchors) == len(columns.anchor_teacher)
    for place, row in enumerate(anchors):
        assert columns.anchor_of[row] == place
        assert columns.anchor_index[row, 0] == place
        assert columns.anchor_weight[row].tolist() == [1.0, *[0.0] * (width - 1)]
    assert (columns.anchor_of[unseen] == PAD).all()
    assert (np.count_nonzero(columns.anchor_weight[unseen], axis=1) > 1).all()
    for row in np.flatnonzero(unseen):
        assert len(set(columns.anchor_index[row])) == width


def test_a_user_keeps_every_purchase_of_all_splits(served, shop):
    data = served.data
    assert len(data.user_offset) == NUM_USERS + 1
    for user in range(NUM_USERS):
        rows = data.user_items[data.user_offset[user] : data.user_offset[user + 1]]
        ids = {item_id(item) for item in shop.item[shop.user == user]}
        ids |= {item_id(item) for who, item in shop.held_out if who == user}
        assert {served.table.ids[row] for row in rows} == ids


def test_embeddings_have_unit_length(served):
    np.testing.assert_allclose(np.linalg.norm(served.data.embedding, axis=1), 1.0, rtol=1e-5)


@pytest.fixture
def shelf(served, tmp_path):
    """Five items whose ids are hard to keep apart."""
    ids = [b"007", b"7", b" 7", b"two words", "红茶".encode()]
    (tmp_path / "users").write_bytes(b"u\n")
    data = dataclasses.replace(served.data, item_id=np.array(ids, object))
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


def test_every_column_may_grow_after_it_was_built(served, tmp_path):
    (tmp_path / "users").write_bytes(b"u\n")
    made = Shelf(served.data, user_ids=tmp_path / "users")
    for columns, data in (
        (made, served.data), (made.served, served.data.served), (made.judged, served.data.judged),
        (made.evidence, served.data.evidence),
    ):  # fmt: skip
        for column in dataclasses.fields(data):
            value = getattr(data, column.name)
            if dataclasses.is_dataclass(value):
                continue
            variable = getattr(columns, column.name)
            assert variable.shape[0] is None
            np.testing.assert_array_equal(variable, value)
            one = value[:1] if len(value) else np.zeros((1, *value.shape[1:]), value.dtype)
            variable.assign(np.concatenate([value, one]))
            assert len(variable.numpy()) == len(value) + 1
