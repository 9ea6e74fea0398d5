import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance import alignment as module
from models.inheritance.alignment import Alignment, keep_strongest
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from tests.models.oracle import aligned, kernel_matrix, unit

ITEMS, USERS, ANCHORS = 40, 70, 30


@pytest.fixture(scope="module")
def shop():
    """A view of items, and who bought the first thirty of them."""
    random = np.random.default_rng(8)
    view = ItemView(
        text=unit(random.normal(size=(ITEMS, 8))).astype(np.float32),
        terms=sp.csr_matrix(unit(np.abs(random.normal(size=(ITEMS, 5))))).astype(np.float32),
        place=(random.permutation(ITEMS) / ITEMS).astype(np.float32),
        price=random.normal(size=ITEMS).astype(np.float32),
        brand=random.integers(0, 4, ITEMS),
    )
    bought = random.random((USERS, ANCHORS)) < random.uniform(0.05, 0.4, ANCHORS)
    return view, sp.csr_matrix(bought.astype(np.float32))


@pytest.mark.parametrize("count", [2, ANCHORS])
@pytest.mark.parametrize("ridge", [0.1, 2.0])
def test_weights_are_those_of_the_regression_with_factors_predicted_without_the_item(
    shop, ridge, count
):
    view, history = shop
    settings = KernelSettings(ridge=ridge, order=1.0, side=0.05)
    anchors, rows, history = np.arange(count), np.arange(ANCHORS, ITEMS), history[:, :count]
    kernel, known = ItemKernel(view, settings), view.rows(anchors)
    alignment = Alignment(kernel(known, known), history, ridge=ridge, refine=True)
    found = alignment(kernel(known, view.rows(rows)))
    expected = aligned(kernel_matrix(view, settings), anchors, history.toarray(), ridge)
    np.testing.assert_allclose(found, expected[:, rows], rtol=1e-4, atol=1e-6)


def test_anchors_whose_buyers_are_opposites_are_not_taken_for_alike():
    """Groups of items with nothing in common, and few users, so that factors point apart."""
    random, group, users = np.random.default_rng(9), np.arange(ITEMS) % 5, 6
    kernel = (0.9 * (group[:, np.newaxis] == group) + 0.1 * np.eye(ITEMS)).astype(np.float32)
    liked = np.arange(users)[:, np.newaxis] % 5 == group[:ANCHORS]
    bought = (random.random(liked.shape) < np.where(liked, 0.6, 0.05)).astype(np.float32)
    among, towards = kernel[:ANCHORS, :ANCHORS], kernel[:ANCHORS, ANCHORS:]
    alignment = Alignment(among, sp.csr_matrix(bought), ridge=0.5, refine=True)
    factors = alignment.arrays()["predicted"]
    assert (factors @ factors.T).min() < -0.02
    expected = aligned(kernel.astype(float), np.arange(ANCHORS), bought.astype(float), 0.5)
    np.testing.assert_allclose(alignment(towards), expected[:, ANCHORS:], rtol=1e-4, atol=1e-6)


def test_an_anchor_that_nobody_bought_counts_as_one_that_somebody_did(shop):
    view, history = shop
    bought = history.toarray()
    bought[:, 0] = 0.0
    anchors, settings = np.arange(ANCHORS), KernelSettings(ridge=1.0, order=1.0, side=0.05)
    known = view.rows(anchors)
    among = ItemKernel(view, settings)(known, known)
    found = Alignment(among, sp.csr_matrix(bought), ridge=1.0, refine=False)(among)
    popularity = np.maximum(bought.sum(axis=0), 1)
    noise = np.diag((popularity / popularity.mean()) ** 0.25)
    expected = np.linalg.solve(among.astype(float) + 0.05 + noise, among.astype(float) + 0.05)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("anchors", [1, 2, ANCHORS])
def test_any_history_can_be_aligned(shop, anchors, monkeypatch):
    """Users with one purchase each: all singular values are equal; then too few rounds for any."""
    view, _ = shop
    kernel = ItemKernel(view, KernelSettings(ridge=1.0, order=1.0, side=0.05))
    known = view.rows(np.arange(anchors))
    towards = kernel(known, view.rows(np.arange(ANCHORS, ITEMS)))
    for rounds in (1000, 1):
        monkeypatch.setattr(module, "_ROUNDS", rounds)
        history = sp.eye(anchors, format="csr", dtype=np.float32)
        found = Alignment(kernel(known, known), history, ridge=1.0, refine=True)(towards)
        assert found.shape == towards.shape and np.isfinite(found).all() and found.any()


def test_without_noise_an_anchor_gets_its_own_score_back(shop):
    view, history = shop
    anchors = view.rows(np.arange(ANCHORS))
    among = ItemKernel(view, KernelSettings(ridge=1.0, order=0.0, side=0.0))(anchors, anchors)
    weights = Alignment(among, history, ridge=1e-6, refine=False)(among)
    np.testing.assert_allclose(weights, np.eye(ANCHORS), atol=1e-2)


def test_much_noise_leaves_nothing_to_inherit(shop):
    view, history = shop
    kernel = ItemKernel(view, KernelSettings(ridge=1.0, order=0.0, side=0.0))
    anchors, others = view.rows(np.arange(ANCHORS)), view.rows(np.arange(ANCHORS, ITEMS))
    alignment = Alignment(kernel(anchors, anchors), history, ridge=1e6, refine=False)
    assert np.abs(alignment(kernel(anchors, others))).max() < 1e-4


def scores_of_few_kinds(random, kinds=4):
    return random.normal(size=(USERS, kinds)) @ random.normal(size=(kinds, ANCHORS))


def test_few_anchors_give_the_scores_of_all_where_scores_are_of_few_kinds():
    random = np.random.default_rng(2)
    scores = scores_of_few_kinds(random)
    weights = random.normal(size=(ANCHORS, 9)).astype(np.float32)
    index, kept = keep_strongest(weights, scores.T @ scores / USERS, 6)
    assert index.shape == kept.shape == (9, 6)
    for item in range(9):
        whole = scores @ weights[:, item]
        fitted = scores[:, index[item]] @ kept[item]
        cut = scores[:, index[item]] @ weights[index[item], item]
        assert np.linalg.norm(fitted - whole) < 0.1 * np.linalg.norm(whole)
        assert np.linalg.norm(fitted - whole) < np.linalg.norm(cut - whole)


def test_the_anchors_that_contribute_most_are_kept():
    scores = np.eye(3) * [1.0, 10.0, 1.0]
    weights = np.array([[0.5], [0.2], [0.1]], np.float32)
    index, kept = keep_strongest(weights, scores.T @ scores / 3, 2)
    assert dict(zip(index[0].tolist(), kept[0].tolist(), strict=True)) == pytest.approx(
        {0: 0.5, 1: 0.2}, rel=1e-3
    )


def test_all_anchors_are_kept_where_there_are_no_more():
    random = np.random.default_rng(5)
    weights = random.normal(size=(4, 3)).astype(np.float32)
    index, kept = keep_strongest(weights, np.eye(4), 9)
    dense = np.zeros((3, 4))
    np.put_along_axis(dense, index, kept, axis=1)
    np.testing.assert_allclose(dense, weights.T, rtol=1e-5)


def test_anchors_that_no_user_has_a_score_for_keep_their_weights():
    weights = np.array([[0.5, -0.1], [0.2, 0.3]], np.float32)
    index, kept = keep_strongest(weights, np.zeros((2, 2)), 2)
    np.testing.assert_allclose(kept, np.take_along_axis(weights.T, index, axis=1), rtol=1e-5)


def test_kept_weights_are_the_least_squares_fit_to_the_scores_of_all(monkeypatch):
    """Of more items than one thread takes at once, from a matrix of 32 bits as it is kept."""
    monkeypatch.setattr(module, "_TOGETHER", 4)
    random = np.random.default_rng(11)
    scores = random.normal(size=(USERS, ANCHORS)) * random.uniform(0.2, 3.0, ANCHORS)
    gram = scores.T @ scores / USERS
    weights = random.normal(size=(ANCHORS, 9)).astype(np.float32)
    index, kept = keep_strongest(weights, gram.astype(np.float32), 6)
    ridge = np.sqrt(module._REFIT_RIDGE * np.diag(gram).mean() * USERS)
    contribution = np.abs(weights) * np.linalg.norm(scores, axis=0)[:, np.newaxis]
    for item in range(9):
        assert set(index[item]) == set(np.argsort(-contribution[:, item])[:6])
        design = np.concatenate([scores[:, index[item]], ridge * np.eye(6)])
        wanted = np.concatenate([scores @ weights[:, item], ridge * weights[index[item], item]])
        expected, *_ = np.linalg.lstsq(design, wanted, rcond=None)
        np.testing.assert_allclose(kept[item], expected, rtol=1e-4, atol=1e-5)
