import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance.kernel import (
    NO_BRAND,
    ItemKernel,
    ItemView,
    KernelSettings,
    compare,
    place_in_order,
)
from tests.models.oracle import kernel_matrix, unit

SIZE = 12


@pytest.fixture(scope="module")
def view():
    random = np.random.default_rng(4)
    price = random.normal(size=SIZE).astype(np.float32)
    price[::4] = np.nan
    brand = random.integers(0, 3, SIZE)
    brand[1::5] = NO_BRAND
    return ItemView(
        text=unit(random.normal(size=(SIZE, 6))).astype(np.float32),
        terms=sp.csr_matrix(unit(np.abs(random.normal(size=(SIZE, 5))))).astype(np.float32),
        place=(random.permutation(SIZE) / SIZE).astype(np.float32),
        price=price,
        brand=brand,
    )


@pytest.mark.parametrize("order", [0.0, 2.0])
@pytest.mark.parametrize("side", [0.0, 0.3])
def test_the_kernel_is_the_documented_formula(view, order, side):
    settings = KernelSettings(ridge=1.0, order=order, side=side)
    found = ItemKernel(view, settings)(view, view)
    np.testing.assert_allclose(found, kernel_matrix(view, settings), rtol=1e-4, atol=1e-5)
    assert np.diag(found).mean() == pytest.approx(1.0, rel=1e-5)


def test_a_part_of_the_items_is_compared_as_in_the_whole(view):
    kernel = ItemKernel(view, KernelSettings(ridge=1.0, order=1.0, side=0.1))
    one, other = np.array([3, 0]), np.array([5, 1, 7])
    found = kernel(view.rows(one), view.rows(other))
    np.testing.assert_allclose(found, kernel(view, view)[np.ix_(one, other)], rtol=1e-6)


def test_items_compared_once_give_the_kernel_of_any_settings(view):
    pairs = compare(view, view.rows(np.arange(3)))
    for settings in (KernelSettings(1.0, 0.0, 0.0), KernelSettings(1.0, 2.0, 0.1)):
        kernel = ItemKernel(view, settings)
        expected = kernel_matrix(view, settings)[:, :3]
        np.testing.assert_allclose(kernel.of(pairs), expected, rtol=1e-4, atol=1e-5)


def test_what_is_unknown_agrees_with_nothing_not_even_with_itself(view):
    unknown = view._replace(price=np.full(SIZE, np.nan, np.float32), brand=np.full(SIZE, NO_BRAND))
    kernel = ItemKernel(unknown, KernelSettings(ridge=1.0, order=0.0, side=0.5))
    text = ItemKernel(unknown, KernelSettings(ridge=1.0, order=0.0, side=0.0))
    found = kernel(unknown, unknown)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, 0.5 * text(unknown, unknown), rtol=1e-6)


def test_ids_that_are_all_numbers_are_ordered_by_their_value():
    ids = np.array([b"10", b"9", b"007"], object)
    assert place_in_order(ids).tolist() == [1.0, 0.5, 0.0]


def test_other_ids_are_ordered_by_their_bytes():
    ids = np.array([b"10", b"9", b"85123A"], object)
    assert place_in_order(ids).tolist() == [0.0, 1.0, 0.5]
    assert place_in_order(ids[:1]).tolist() == [0.0]
