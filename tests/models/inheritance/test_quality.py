import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance.kernel import NO_BRAND, ItemKernel, ItemView, KernelSettings
from models.inheritance.quality import (
    Ratings,
    fit_quality,
    item_quality,
    quality_as_new,
    quality_towards,
)

USERS, ITEMS, THEMES = 60, 40, 4
SETTINGS = KernelSettings(ridge=1.0, order=0.0, side=0.0)


@pytest.fixture(scope="module")
def view():
    """Items of four themes, which their texts tell."""
    random = np.random.default_rng(6)
    text = np.eye(THEMES, 8)[np.arange(ITEMS) % THEMES] + random.normal(scale=0.1, size=(ITEMS, 8))
    return ItemView(
        text=(text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32),
        terms=sp.csr_matrix((ITEMS, 1), dtype=np.float32),
        place=np.zeros(ITEMS, np.float32),
        price=np.full(ITEMS, np.nan, np.float32),
        brand=np.full(ITEMS, NO_BRAND),
    )


@pytest.fixture(scope="module")
def ratings():
    """The first theme is liked, the second is not; users are mild or strict; ten items are new."""
    random = np.random.default_rng(7)
    shown = random.random((USERS, ITEMS)) < 0.4
    shown[:, 30:] = False
    user, item = np.nonzero(shown)
    level, theme = random.normal(scale=0.1, size=USERS), np.array([0.2, -0.2, 0.0, 0.0])
    rating = 0.5 + level[user] + theme[item % THEMES] + random.normal(scale=0.05, size=len(user))
    return Ratings(
        user.astype(np.int32), item.astype(np.int32), rating.astype(np.float32), USERS, ITEMS
    )


def quality(ratings, view, **changes):
    return item_quality(ratings, view, SETTINGS, **({"max_anchors": 4096} | changes))


@pytest.mark.parametrize("max_anchors", [12, 4096])
def test_quality_is_the_item_part_of_the_ratings_smoothed_by_the_most_rated_items(
    ratings, view, max_anchors
):
    """The documented alternation again, one solve and one loop at a time."""
    ratings = Ratings(  # one of the items has a single one
        np.append(ratings.user, np.int32(7)), np.append(ratings.item, np.int32(33)),
        np.append(ratings.rating, np.float32(0.9)), USERS, ITEMS,
    )  # fmt: skip
    kernel = ItemKernel(view, SETTINGS)(view, view).astype(float) + 0.05
    count = np.bincount(ratings.item, minlength=ITEMS)
    seen = np.flatnonzero(count)
    anchors = np.sort(seen[np.argsort(-count[seen], kind="stable")[:max_anchors]])
    deviation = ratings.rating - ratings.rating.mean()
    smooth, user = np.zeros(ITEMS), np.zeros(USERS)
    for _ in range(4):
        for who in range(USERS):
            own = ratings.user == who
            user[who] = (deviation[own] - smooth[ratings.item[own]]).sum() / (own.sum() + 3)
        rest = deviation - user[ratings.user]
        means = [rest[ratings.item == item].mean() for item in anchors]
        noise = np.diag(1 + 10 / count[anchors])
        weights = np.linalg.solve(kernel[np.ix_(anchors, anchors)] + noise, means)
        smooth[anchors] = kernel[np.ix_(anchors, anchors)] @ weights
    smooth = kernel[:, anchors] @ weights
    expected = smooth.copy()
    for item in seen:
        own = ratings.item == item
        rest = deviation[own] - user[ratings.user[own]] - smooth[item]
        expected[item] += rest.sum() / (own.sum() + 3)
    found = quality(ratings, view, max_anchors=max_anchors)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_new_item_gets_the_quality_of_items_like_it(ratings, view):
    found = quality(ratings, view)
    new = np.arange(30, ITEMS)
    assert (found[new[new % THEMES == 0]] > 0.1).all()
    assert (found[new[new % THEMES == 1]] < -0.1).all()


def test_implicit_feedback_has_no_quality(ratings, view):
    liked = Ratings(ratings.user, ratings.item, np.ones_like(ratings.rating), USERS, ITEMS)
    assert (quality(liked, view) == 0.0).all()
    # Nor has a later item.
    fitted = fit_quality(liked, view, SETTINGS, np.arange(ITEMS), max_anchors=12)
    assert quality_towards(np.ones((12, 2), np.float32), fitted.weight).tolist() == [0.0, 0.0]
    none = Ratings(ratings.user[:0], ratings.item[:0], ratings.rating[:0], USERS, ITEMS)
    assert (quality(none, view) == 0.0).all()


def test_quality_as_new_does_not_know_the_items_own_ratings(ratings, view):
    fold, own = np.array([0, 5]), quality(ratings, view)
    found = quality_as_new(own, [fold], ratings, view, SETTINGS, max_anchors=4096)
    changed = ratings.rating.copy()
    changed[np.isin(ratings.item, fold)] = 0.0
    others = np.setdiff1d(np.arange(ITEMS), fold)
    again = quality_as_new(
        own, [fold], Ratings(ratings.user, ratings.item, changed, USERS, ITEMS), view, SETTINGS,
        max_anchors=4096,
    )  # fmt: skip
    np.testing.assert_array_equal(found[fold], again[fold])
    np.testing.assert_array_equal(found[others], own[others])


@pytest.mark.parametrize("max_anchors", [12, 4096])
def test_quality_as_new_is_that_of_a_shop_where_the_items_were_never_rated(
    ratings, view, max_anchors
):
    hands = [np.array([0, 5, 31]), np.array([7])]
    found = quality_as_new(
        quality(ratings, view), hands, ratings, view, SETTINGS, max_anchors=max_anchors
    )
    for hand in hands:
        unrated = quality(ratings.without(hand), view, max_anchors=max_anchors)
        np.testing.assert_allclose(found[hand], unrated[hand], atol=1e-6)
