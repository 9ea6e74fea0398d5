import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from models.inheritance.ease import ease


def random_history(seed=0, users=80, items=12):
    random = np.random.default_rng(seed)
    return (random.random((users, items)) < 0.25).astype(np.float32)


def test_each_column_is_a_ridge_regression_on_the_other_columns():
    history = random_history()
    weights = ease(sp.csr_matrix(history), 3.0)
    for item in range(history.shape[1]):
        others = np.delete(np.arange(history.shape[1]), item)
        ridge = Ridge(alpha=3.0, fit_intercept=False, solver="cholesky")
        ridge.fit(history[:, others].astype(np.float64), history[:, item])
        np.testing.assert_allclose(weights[others, item], ridge.coef_, atol=1e-5)


def test_of_more_items_than_are_mirrored_at_once_all_weights_are_those_of_the_inverse():
    history = random_history(users=900, items=600).astype(np.float64)
    inverse = np.linalg.inv(history.T @ history + 3.0 * np.eye(600))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    weights = ease(sp.csr_matrix(history), 3.0)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-8)


def test_an_item_never_recommends_itself():
    assert (np.diag(ease(sp.csr_matrix(random_history()), 3.0)) == 0.0).all()


def test_an_item_without_purchases_neither_gives_nor_takes():
    history = random_history()
    history[:, 4] = 0.0
    weights = ease(sp.csr_matrix(history), 1.0)
    assert np.abs(weights[4]).max() == 0.0
    assert np.abs(weights[:, 4]).max() == 0.0


def test_no_items_at_all_is_an_empty_model():
    assert ease(sp.csr_matrix((5, 0), dtype=np.float32), 1.0).shape == (0, 0)
