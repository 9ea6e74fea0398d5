"""What one more word in a title does, against the shelf with the reworded products on it."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from models.debiasing.wording import wording_shifts
from models.products import describe
from models.shelf.admission import Admission
from models.shelf.newcomers import place
from tests.models.conftest import known_history
from tests.models.shelf.test_newcomers import product
from tests.models.shop import NUM_USERS, SIZE

NEW = (9, 19, 29)  # of three themes


def admitted(served):
    return Admission.load(served.path, served.module._shelf)


def logits(served, products):
    """Of all users with anchors for products on the shelf: [U, P]."""
    model = SimpleNamespace(_shelf=served.module._shelf)
    described = describe(served.loaded, products)
    columns = place(model, admitted(served), products, described).columns
    row_of = {item.decode(): row for row, item in enumerate(columns["item_id"])}
    lists = columns["served.source"][[row_of[one.item] for one in products]]
    inherited = served.data.served
    found = []
    for user in range(NUM_USERS):
        sources = inherited.source[known_history(served, user)]
        anchors = np.unique(sources[sources < len(inherited.reference_weight)])
        scores = inherited.anchor_teacher[anchors].sum(axis=0)
        reference = max(scores @ inherited.reference_weight, 0) + 1e-4
        lent = [
            scores[columns["served.anchor_index"][one]] @ columns["served.anchor_weight"][one]
            for one in lists
        ]
        if len(anchors):
            found.append(np.log(np.maximum(lent, 0) / reference + 0.1))
    return np.array(found)


def test_a_word_moves_scores_as_it_would_move_the_product_on_the_shelf(served, shop):
    products = [product(shop, row) for row in NEW]
    before = logits(served, products)
    shifts = wording_shifts(served.loaded, admitted(served), products, ["tea cup", "zzz"])
    for shift in shifts:
        reworded = [one._replace(title=f"{one.title} {shift.word}") for one in products]
        moved = logits(served, reworded) - before
        assert shift.mean == pytest.approx(np.abs(moved).mean(), abs=0.01)
        assert shift.drift == pytest.approx(moved.mean(), abs=0.01)
        assert shift.worst == pytest.approx(np.abs(moved).mean(axis=0).max(), abs=0.01)
        assert shift.title == products[int(np.abs(moved).mean(axis=0).argmax())].title
    told, meaningless = shifts
    assert told.mean > meaningless.mean


def sold_to(model, histories):
    """A shelf of other users, each with its rows."""
    shelf, items = model._shelf, np.concatenate(histories).astype(np.int32)
    shelf.user_items.assign(items)
    shelf.user_rating.assign(np.ones(len(items), np.float32))
    shelf.user_offset.assign(np.cumsum([0, *map(len, histories)]))


def test_of_many_users_some_are_drawn_and_they_alone_are_looked_at(served, shop, model):
    random, many = np.random.default_rng(4), 40_000
    histories = np.split(random.integers(SIZE, size=2 * many), many)
    is_anchor = served.data.served.anchor_of >= 0
    told = np.flatnonzero([is_anchor[history].any() for history in histories])
    assert len(told) < many
    drawn = told[np.sort(np.random.default_rng(0).choice(len(told), 500, replace=False))]
    given = (admitted(served), [product(shop, row) for row in NEW], ["tea cup"])

    sold_to(model, [histories[user] for user in drawn])
    expected = wording_shifts(model, *given)
    sold_to(model, histories)
    tracemalloc.start()
    try:
        assert wording_shifts(model, *given) == expected
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < many * is_anchor.sum() * np.float32().nbytes, "a table of all users' anchors"
