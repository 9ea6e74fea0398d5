"""Matrices of the shelf in 8 bits: read in the graph as the numbers that they stand for."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from models.columns import ROUNDS
from models.companding import read_floats, rooted, squared
from models.inheritance.inherited import Inherited
from models.products import Product, describe
from models.shelf.admission import Admission
from models.shelf.newcomers import place
from models.shelf.shelf import Shelf, ShelfData


@pytest.fixture(scope="module")
def matrices(served):
    """The columns that a small model keeps in 8 bits, as those stand for them."""
    lent = served.data.served
    return {
        column.name: squared(*rooted(getattr(lent, column.name)))
        for column in fields(lent)
        if ROUNDS in column.metadata
    }


@pytest.fixture(scope="module")
def small(served):
    return Inherited(served.data.served, small=True)


def test_steps_are_those_of_the_root_so_that_small_numbers_beside_large_ones_stay():
    random = np.random.default_rng(3)
    matrix = random.normal(size=(30, 50)).astype(np.float32) ** 5
    matrix[4] = 0.0
    matrix[5, 1:] = 0.0
    whole, scale = rooted(matrix)
    assert whole.dtype == np.int8 and scale.shape == (30,) and scale.dtype == np.float32
    again = squared(whole, scale)
    greatest = np.abs(matrix).max(axis=1, keepdims=True)
    assert (np.abs(again - matrix) <= np.sqrt(np.abs(matrix) * greatest) / 127 + greatest / 254**2
            + 1e-6 * greatest).all()  # fmt: skip
    assert (again[4] == 0).all() and (again[5, 1:] == 0).all()
    np.testing.assert_allclose(again.max(axis=1), matrix.max(axis=1), rtol=0.02)
    # In even steps, as many bits lose three times as much.
    even = np.rint(matrix / greatest.clip(1e-9) * 127) * greatest / 127
    assert np.abs(again - matrix).mean() < np.abs(even - matrix).mean() / 3


def test_what_is_rounded_already_stays(served):
    once = squared(*rooted(served.data.served.anchor_teacher))
    np.testing.assert_allclose(squared(*rooted(once)), once, rtol=1e-6)


def test_the_large_matrices_take_a_byte_a_number(small, matrices):
    assert set(matrices) == {"anchor_teacher", "anchor_probe", "anchor_embedding"}
    for name, matrix in matrices.items():
        assert getattr(small, name).dtype == tf.int8
        np.testing.assert_allclose(small.floats(name), matrix, rtol=1e-6)
        np.testing.assert_allclose(read_floats(small, name), matrix, rtol=1e-6)
        rows = np.array([[3, 0], [3, 1]])
        np.testing.assert_allclose(small.floats(name, tf.constant(rows)), matrix[rows], rtol=1e-6)
    assert small.demand.dtype == tf.float32
    assert [c.name for c in fields(ShelfData) if ROUNDS in c.metadata] == ["profile"]


@pytest.mark.parametrize("bought", [9, 300])  # fewer than anchors, and more
@pytest.mark.parametrize("is_small", [True, False])
def test_scores_are_sums_over_histories_however_the_scores_are_kept(
    served, small, matrices, bought, is_small
):
    inherited = small if is_small else served.module._shelf.served
    teacher = matrices["anchor_teacher"] if is_small else served.data.served.anchor_teacher
    random = np.random.default_rng(bought)
    anchor = random.integers(0, len(teacher), bought).astype(np.int32)
    user = np.sort(random.integers(0, 7, bought)).astype(np.int64)
    expected = np.zeros((9, len(teacher)))
    np.add.at(expected, user, teacher[anchor])
    found = inherited.scores(tf.constant(anchor), tf.constant(user), tf.constant(9))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    lists = np.stack([anchor, random.permutation(anchor)])
    weight = random.normal(size=lists.shape).astype(np.float32)
    np.testing.assert_allclose(
        inherited.scores_of(tf.constant(lists), tf.constant(weight)),
        np.einsum("abk,bk->ba", teacher[:, lists].astype(float), weight), rtol=1e-3, atol=1e-5,
    )  # fmt: skip
    likened = random.random((3, len(teacher))).astype(np.float32)
    found = inherited.scores_by(tf.constant(likened))
    np.testing.assert_allclose(found, likened.astype(float) @ teacher, rtol=1e-4, atol=1e-5)


def test_a_later_product_inherits_by_the_scores_that_are_served(served, matrices):
    shelf = Shelf(served.data, user_ids=served.path / "assets" / "users.txt", small=True)
    admission = Admission.load(served.path, shelf)
    products = [Product("later", "red glass tea pot", "", "", "", None, None)]
    described = describe(served.loaded, products)
    placed = place(SimpleNamespace(_shelf=shelf), admission, products, described)
    columns, row = placed.columns, placed.new
    lists = columns["served.source"][row]
    index, weight = columns["served.anchor_index"][lists], columns["served.anchor_weight"][lists]
    history = admission.choices.history.toarray()
    lent = np.zeros((len(row), history.shape[1]))
    np.add.at(lent[0], index[0], weight[0].astype(float))

    def share(teacher):
        scores = history @ teacher
        relative = np.maximum(scores @ lent[0], 0) / (
            np.maximum(scores @ served.data.served.reference_weight, 0) + 1e-4
        )
        powers = relative + 0.1
        shares = (powers / (admission.choices.total + powers)).mean()
        return np.log(shares * (admission.choices.items + 1) + 1e-9)

    by_rounded, exact = matrices["anchor_teacher"], served.data.served.anchor_teacher
    found = columns["evidence.expected_share"][row]
    assert found == pytest.approx(share(by_rounded), rel=1e-3)
    # Where the difference is seen: in a mean over users it is lost.
    scores = admission.choices.scores
    np.testing.assert_allclose(scores, history @ by_rounded, rtol=1e-4, atol=1e-5)
    assert np.abs(history @ exact - scores).max() > 1e-3
