"""The index finds what an exact search finds, and keeps up with the shelf."""

from dataclasses import fields, replace

import numpy as np
import pytest
import tensorflow as tf

from models.candidates import beam_heads, building, search
from models.candidates.building import build_index, read_index, reindexed
from models.candidates.columns import HEAD, no_index
from models.candidates.export import export_vectors
from models.export import retriever
from models.export.served import ServedModel
from models.interactions import PAD
from models.options import IndexOptions
from models.shelf.intake import assign
from models.shelf.shelf import Shelf
from tests.components.ingestion.helpers import IN_MEMORY
from tests.models.conftest import MODEL_OPTIONS, fill
from tests.models.shop import NUM_USERS, SIZE, item_id, user_id
from tests.portable.protos import recorded, unportable

ANCHORS, WIDTH, SCANNED = 12, 3, 14
FEW = MODEL_OPTIONS.model_copy(update={"max_anchors": ANCHORS})
OPTIONS = IndexOptions(search="index", scanned=SCANNED)


@pytest.fixture(scope="module")
def data(shop, served):
    """The shelf of the shop with few anchors, and the index of all its other items."""
    filled, _ = fill(
        shop, served.table, served.model, served.features, served.view, served.profiles,
        options=FEW,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam_heads, "_PART", 20)
        patch.setattr(building, "_NARROWEST", WIDTH)
        with recorded() as protos:
            index = build_index(filled.served, OPTIONS, beam_args=IN_MEMORY)
    # A cluster could build it too.
    assert [unportable(proto) for proto in protos] == [[]]
    return replace(filled, index=index)


@pytest.fixture(scope="module")
def model(served, data, tmp_path_factory):
    users = tmp_path_factory.mktemp("candidates") / "users.txt"
    users.write_bytes(b"".join(user_id(user) + b"\n" for user in range(NUM_USERS)))
    shelf = Shelf(data, user_ids=users)
    return ServedModel(**(served.parts | {"shelf": shelf}), chance=None)


@pytest.fixture
def recommend(model, data, monkeypatch):
    """Ask with the index, or exactly, where the catalogue counts as large."""
    monkeypatch.setattr(retriever, "SMALL", 1)
    asked = {"scans": 0}
    scan = model._retrieve._shortlist

    def counted(*arguments):
        asked["scans"] += 1
        return scan(*arguments)

    monkeypatch.setattr(model._retrieve, "_shortlist", counted)
    # A trace would keep what is patched, and count itself.
    tf.config.run_functions_eagerly(True)

    def ask(users, *, k=5, history=(), profile=b"", new_only=False, index=data.index):
        put(model._shelf.index, index)
        answer = model.recommend(
            tf.constant(users), tf.constant([list(history)] * len(users), tf.string,
                                            [len(users), len(history)]),
            tf.constant([profile] * len(users)), tf.constant(k), tf.constant(new_only),
        )  # fmt: skip
        put(model._shelf.index, data.index)
        return {name: value.numpy() for name, value in answer.items()} | asked

    yield ask
    tf.config.run_functions_eagerly(False)


def put(index, columns):
    for field in fields(columns):
        getattr(index, field.name).assign(getattr(columns, field.name))


def lent(inheritance, row):
    """How much of each anchor's score an item gets, by the definition."""
    weights = np.zeros(len(inheritance.anchor_teacher))
    place = inheritance.source[row]
    for anchor, weight in zip(
        inheritance.anchor_index[place], inheritance.anchor_weight[place], strict=True
    ):
        weights[anchor] += weight
    return weights * np.exp(inheritance.demand[row])


def scores_of(data, user):
    served = data.served
    scores = np.zeros(len(served.anchor_teacher))
    for row in data.user_items[data.user_offset[user] : data.user_offset[user + 1]]:
        if served.source[row] < len(scores):
            scores += served.anchor_teacher[served.source[row]]
    return scores


def check_blocks(index, inheritance):
    """Every item that is no anchor stands under its strongest anchor, maybe under one more."""
    expected = set()
    for row in np.flatnonzero(inheritance.source >= len(inheritance.anchor_teacher)):
        weights = lent(inheritance, row)
        first = int(weights.argmax())
        second = max(set(range(len(weights))) - {first}, key=lambda anchor: abs(weights[anchor]))
        expected.add((row, first))
        if weights[second] > weights[first] / 2:
            expected.add((row, second))
    found = [(row, index.shared[b]) for b, rows in enumerate(index.row) for row in rows if row >= 0]
    assert len(found) == len(expected) and set(found) == expected
    assert len(found) > len({row for row, _ in found}), "some are posted twice"
    for block, rows in enumerate(index.row):
        posted = rows != PAD
        assert posted.any() and not (~posted[:-1] & posted[1:]).any(), "only the end is padded"
        assert index.most[block] == index.own[block].max()
        assert (index.own[block, ~posted] == 0.0).all()
        assert (index.weight[block][:, ~posted] == 0.0).all()
        for place in np.flatnonzero(posted):
            weights = lent(inheritance, rows[place])
            head = [index.shared[block], *index.other[block, :, place]]
            assert len(set(head)) == HEAD
            kept = [index.own[block, place], *index.weight[block, :, place]]
            np.testing.assert_allclose(kept, weights[head], rtol=1e-5)
            assert weights.max() in weights[head[:2]]
            assert np.abs(weights[head]).min() >= np.abs(np.delete(weights, head)).max()
    under = [np.ravel(index.own[index.shared == anchor]) for anchor in set(index.shared)]
    assert all((np.diff(weights) <= 0.0).all() for weights in under), "in falling order"
    assert len(under) == len(set(index.shared.tolist()))


def test_every_item_but_the_anchors_is_posted_under_its_strongest_anchor(data):
    assert data.index.row.shape[1] == WIDTH
    check_blocks(data.index, data.served)
    assert data.index.popular[0] == data.served.fallback.argmax()


def test_a_look_at_the_whole_index_finds_what_an_exact_search_finds(recommend, data):
    full = replace(data.index, scanned=np.array([data.index.row.size], np.int32))
    for user in range(0, NUM_USERS, 5):
        exact = recommend([user_id(user)], k=10, index=no_index())
        found = recommend([user_id(user)], k=10, index=full)
        assert found["scans"] == exact["scans"], "nothing was left to a scan"
        np.testing.assert_allclose(found["score"], exact["score"], atol=1e-5)


def test_a_look_at_a_quarter_of_it_finds_nearly_all(recommend, row_of):
    hits = []
    for user in range(0, NUM_USERS, 3):
        exact = recommend([user_id(user)], k=5, index=no_index())
        found = recommend([user_id(user)], k=5)
        assert found["scans"] == exact["scans"]
        hits += (found["score"] >= exact["score"][0, -1] - 1e-5).tolist()
        known = dict(zip(exact["item_id"][0], exact["score"][0], strict=True))
        for item, score in zip(found["item_id"][0], found["score"][0], strict=True):
            assert score == pytest.approx(known.get(item, score), abs=1e-5)
    assert np.mean(hits) > 0.9


def test_nothing_bought_or_given_is_found(recommend, row_of, bought):
    for user in range(8):
        answer = recommend([user_id(user)], history=[item_id(3), item_id(18)], k=8)
        found = [row_of[item] for item in answer["item_id"][0]]
        excluded = bought[user] | {row_of[item_id(3)], row_of[item_id(18)]}
        assert len(set(found)) == 8 and not excluded.intersection(found)


def test_a_batch_is_answered_as_its_users_are(recommend):
    users = [user_id(2), b"nobody", user_id(9), user_id(10)]
    together = recommend(users)
    for place, user in enumerate(users):
        alone = recommend([user])
        assert together["item_id"][place].tolist() == alone["item_id"][0].tolist()
        np.testing.assert_allclose(together["score"][place], alone["score"][0], atol=1e-5)


def test_where_few_are_allowed_all_of_them_are_looked_at(recommend, data):
    """A tenth of the shop is new: as many of them as usual would be more than all."""
    fifth = replace(data.index, scanned=np.array([data.index.row.size // 5], np.int32))
    for user in range(8):
        exact = recommend([user_id(user)], new_only=True, index=no_index())
        found = recommend([user_id(user)], new_only=True, index=fifth)
        assert found["scans"] == exact["scans"], "nothing was left to a scan"
        np.testing.assert_allclose(found["score"], exact["score"], atol=1e-5)


@pytest.mark.parametrize(
    ("share", "k", "places"),
    [(1.0, 10, 20), (1.0, 128, 20), (1.0, 256, 40), (0.5, 10, 40), (0.5, 256, 80), (0.1, 10, 100)],
)
def test_a_look_is_longer_for_longer_lists_and_where_fewer_are_allowed(
    model, data, share, k, places
):
    """20 places as usual, and never more than all 100."""
    columns = replace(
        data.index,
        row=np.resize(data.index.row, (100, 1)),
        scanned=np.array([20], np.int32),
    )
    allowed = tf.range(1000) < int(1000 * share)
    put(model._shelf.index, columns)
    try:
        scanned = model._shelf.index.scan(allowed, tf.constant(k)).numpy()
    finally:
        put(model._shelf.index, data.index)
    assert scanned == pytest.approx(places, abs=1)


def test_a_long_list_looks_at_more_and_finds_nearly_all(recommend, monkeypatch):
    monkeypatch.setattr(search, "_USUAL", 4)
    monkeypatch.setattr(search, "_BEST", 2)
    hits = []
    for user in range(0, NUM_USERS, 3):
        exact = recommend([user_id(user)], k=12, index=no_index())
        found = recommend([user_id(user)], k=12)
        assert found["scans"] == exact["scans"], "nothing was left to a scan"
        hits += (found["score"] >= exact["score"][0, -1] - 1e-5).tolist()
    assert np.mean(hits) > 0.9


@pytest.mark.parametrize("profile", [b"", b"age: 2. occupation: student."])
def test_somebody_without_a_history_is_answered_exactly(recommend, profile):
    exact = recommend([b"nobody"], profile=profile, k=10, index=no_index())
    found = recommend([b"nobody"], profile=profile, k=10)
    assert found["item_id"].tolist() == exact["item_id"].tolist()
    np.testing.assert_allclose(found["score"], exact["score"], atol=1e-5)


def test_what_changes_on_the_shelf_changes_in_the_index(data, model):
    """A row inherits otherwise and is wanted more: the index is as if built anew."""
    shelf, index = model._shelf, data.index
    one, other = index.row[0, 0], index.row[-1, 0]
    source, demand = data.served.source.copy(), data.served.demand.copy()
    source[one], demand[one] = source[other], 1.5
    try:
        assign(model, {"served.source": source, "served.demand": demand})
        columns = reindexed(shelf, np.array([one], np.int64))
        assign(model, columns)
        changed = replace(data.served, source=source, demand=demand)
        after = read_index(shelf)
        check_blocks(after, changed)
        anew = build_index(changed, OPTIONS, beam_args=IN_MEMORY)
        for field in fields(anew):
            np.testing.assert_array_equal(
                getattr(after, field.name), getattr(anew, field.name), err_msg=field.name
            )
    finally:
        assign(model, {"served.source": data.served.source, "served.demand": data.served.demand})
        put(shelf.index, index)


def test_a_shelf_without_an_index_gets_none_by_a_change(served):
    assert reindexed(served.module._shelf, np.array([0])) == {}


def test_size_decides_where_nothing_else_does():
    automatic, exact = (OPTIONS.model_copy(update={"search": s}) for s in ("auto", "exact"))
    assert [automatic.is_indexed(items) for items in (16_384, 16_385)] == [False, True]
    assert not exact.is_indexed(10**7) and OPTIONS.is_indexed(10)


def test_the_exported_vectors_score_items_by_inner_product_alone(data, model, tmp_path):
    gone = int(data.index.row[1, 0])
    offered = data.available.copy()
    offered[gone] = False
    try:
        model._shelf.available.assign(offered)
        ids = export(model._shelf, tmp_path)
    finally:
        model._shelf.available.assign(data.available)
    assert len(ids) == SIZE - 1 and data.item_id[gone] not in ids
    check_vectors(data, ids, tmp_path)


def test_the_exported_vectors_tell_anchors_apart_however_few_items_are_none(served, tmp_path):
    data = served.data
    anchors, heirs = len(data.served.anchor_teacher), np.count_nonzero(data.is_new)
    assert 0 < heirs < anchors
    check_vectors(data, export(served.module._shelf, tmp_path), tmp_path)


def export(shelf, folder):
    """Ids of what is exported."""
    count = export_vectors(shelf, folder)
    ids = (folder / "items.txt").read_bytes().splitlines()
    assert count == len(ids)
    return ids


def check_vectors(data, ids, folder):
    """A history's vectors and an item's give what it inherits from that history."""
    items, history = np.load(folder / "items.npy"), np.load(folder / "history.npy")
    lent_by = (folder / "history.txt").read_bytes().splitlines()
    rows = [data.item_id.tolist().index(item) for item in ids]
    assert len(items) == len(ids)
    for user in range(NUM_USERS):
        bought = data.item_id[data.user_items[data.user_offset[user] : data.user_offset[user + 1]]]
        query = history[np.isin(lent_by, bought)].sum(axis=0)
        exact = [lent(data.served, row) @ scores_of(data, user) for row in rows]
        np.testing.assert_allclose(items @ query, exact, atol=1e-3 * np.abs(exact).max() + 1e-6)
    np.testing.assert_array_equal(
        np.load(folder / "embeddings.npy"), data.embedding[rows].astype(np.float32)
    )
