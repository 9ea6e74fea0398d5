"""What new items gain from more data, on made-up shops: recomputed, and that it is a gain."""

import numpy as np
import pytest
import scipy.sparse as sp

from models.curves import by_first_interactions, by_labelled_share, without_encoder
from models.few_shot.adaptation import learn_adaptation
from models.few_shot.clock import ShopClock
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import NO_BRAND, ItemKernel, ItemView, KernelSettings
from models.inheritance.quality import Ratings
from models.inheritance.simulation import SimulatedLaunch
from models.ranking import ranking_quality
from tests.models.few_shot.test_adaptation import TARGETS, make
from tests.models.oracle import unit

USERS, ITEMS, KINDS = 200, 160, 6
SETTINGS = KernelSettings(ridge=1.0, order=0.0, side=0.0)
HIDDEN, ANCHORS = np.arange(0, ITEMS, 4), np.setdiff1d(np.arange(ITEMS), np.arange(0, ITEMS, 4))


def shop(*, explicit: bool):
    """Users like one kind of items each; the encoder knows the kinds, the words only half of it."""
    random = np.random.default_rng(3)
    kind, taste = np.arange(ITEMS) % KINDS, random.integers(0, KINDS, USERS)
    bought = random.random((USERS, ITEMS)) < np.where(taste[:, None] == kind, 0.3, 0.03)
    user, item = np.nonzero(bought)
    rating = (0.2 + 0.1 * kind[item] + 0.1 * random.random(len(user))).clip(0, 1)
    ratings = Ratings(
        user.astype(np.int32), item.astype(np.int32),
        (rating if explicit else np.ones(len(user))).astype(np.float32), USERS, ITEMS,
    )  # fmt: skip
    one_hot = np.eye(KINDS)[kind]
    text, terms = (
        unit(one_hot + noise * random.normal(size=one_hot.shape)).astype(np.float32)
        for noise in (0.1, 0.5)
    )
    view = ItemView(
        text=text,
        terms=sp.csr_matrix(terms),
        place=np.zeros(ITEMS, np.float32),
        price=np.full(ITEMS, np.nan, np.float32),
        brand=np.full(ITEMS, NO_BRAND),
    )
    launch = SimulatedLaunch.hide(
        ratings.purchases(), targets=HIDDEN, anchors=ANCHORS, regularization=5.0
    )
    return ratings, view, launch


def shares(*, explicit: bool):
    ratings, view, launch = shop(explicit=explicit)
    views = {"words alone": without_encoder(view), "with encoder": view}
    return by_labelled_share(ratings, launch, views, SETTINGS, regularization=5.0)


def test_all_interactions_give_the_recall_of_the_launch_itself():
    _, view, launch = shop(explicit=False)
    points = shares(explicit=False)
    assert [point.at for point in points] == [1, 5, 20, 100]
    quality = AlignedLaunch.align(launch, view, SETTINGS).quality()
    assert points[-1].values["recall, with encoder"] == pytest.approx(quality["recall"])


def test_more_interactions_and_a_trained_encoder_help():
    first, *_, last = shares(explicit=False)
    assert last.values["recall, with encoder"] > first.values["recall, with encoder"] + 0.05
    assert last.values["recall, with encoder"] > last.values["recall, words alone"]


def test_implicit_feedback_has_no_squared_error_and_ratings_have_a_falling_one():
    assert not any("error" in name for point in shares(explicit=False) for name in point.values)
    errors = [point.values["squared_error, with encoder"] for point in shares(explicit=True)]
    ratings, _, launch = shop(explicit=True)
    tested = np.isin(ratings.item, launch.targets)
    constant = np.mean((ratings.rating[tested] - ratings.rating[~tested].mean()) ** 2)
    assert errors[-1] < errors[0] and errors[-1] < 0.7 * constant


def test_users_without_an_interaction_left_get_what_everybody_wants(monkeypatch):
    monkeypatch.setattr("models.curves.SHARES", (1,))
    ratings, view, launch = shop(explicit=False)
    [point] = by_labelled_share(ratings, launch, {"x": view}, SETTINGS, regularization=5.0)
    kept = 100 * np.random.default_rng(0).random(len(ratings.rating)) <= 1
    bought = np.zeros((USERS, ITEMS))
    bought[ratings.user[kept], ratings.item[kept]] = 1
    known = ANCHORS[bought[:, ANCHORS].any(axis=0)]
    less = SimulatedLaunch.hide(
        ratings.rows(np.flatnonzero(kept)).purchases(), targets=HIDDEN, anchors=known,
        regularization=5.0,
    )  # fmt: skip
    aligned = AlignedLaunch.align(less, view, SETTINGS)
    history = bought[:, known]
    history[~history.any(axis=1)] = history.mean(axis=0)
    scores = (history @ less.teacher @ aligned.weights)[launch.users]
    wanted = launch.wanted[launch.users].toarray()
    expected = ranking_quality(scores.astype(np.float32), wanted, 20)[0].mean()
    assert point.values["recall, x"] == pytest.approx(expected, abs=0.02)  # ties by rounding


def test_without_the_encoder_a_kernel_compares_words_on_the_same_scale():
    _, view, _ = shop(explicit=False)
    words = without_encoder(view)
    found = ItemKernel(words, SETTINGS)(words, words)
    np.testing.assert_allclose(found, (view.terms @ view.terms.T).toarray(), atol=1e-5)


def test_nobody_to_ask_leaves_both_curves_empty():
    ratings, view, launch = shop(explicit=False)
    nobody = SimulatedLaunch.hide(
        sp.csr_matrix(launch.history.shape), targets=np.arange(3), anchors=np.arange(3, 10),
        regularization=5.0,
    )  # fmt: skip
    assert not by_labelled_share(ratings, nobody, {"x": view}, SETTINGS, regularization=5.0)
    interactions, _ = make(pace=True)
    aligned = AlignedLaunch(nobody, np.ones((7, 3), np.float32))
    clock = ShopClock.of(interactions.timestamp)
    weights = learn_adaptation([], interactions, clock, anchors_per_item=8)
    assert not by_first_interactions(aligned, interactions, clock, weights, anchors_per_item=8)


@pytest.fixture(scope="module")
def first_interactions():
    interactions, aligned = make(pace=True)
    clock = ShopClock.of(interactions.timestamp)
    weights = learn_adaptation([aligned], interactions, clock, anchors_per_item=8)
    points = by_first_interactions(aligned, interactions, clock, weights, anchors_per_item=8)
    return interactions, aligned, points


def test_no_interaction_is_the_text_alone_on_the_later_interactions(first_interactions):
    interactions, aligned, points = first_interactions
    assert [point.at for point in points] == [0, 1, 2, 5, 10]
    order = np.lexsort((interactions.item, interactions.user, interactions.timestamp))
    later = np.zeros((aligned.launch.history.shape[0], TARGETS))
    seen: dict[int, list[int]] = {}
    for row in order:
        seen.setdefault(int(interactions.item[row]), []).append(int(interactions.user[row]))
    some = [item for item in range(TARGETS) if len(seen.get(item, ())) >= 13]
    early = np.zeros_like(later)
    for item in some:
        early[seen[item][:10], item], later[seen[item][10:], item] = 1, 1
    users = (later.sum(axis=1) > 0) & (aligned.launch.history.getnnz(axis=1) > 0)
    scores = aligned.launch.history[users] @ aligned.launch.teacher @ aligned.weights
    scores = np.where(early[users] > 0, -1e9, scores)[:, some]
    recall, _ = ranking_quality(scores, later[users][:, some], 20)
    assert points[0].values["recall"] == pytest.approx(recall.mean(), abs=1e-3)


def test_where_pace_tells_demand_more_first_interactions_help(first_interactions):
    recalls = [point.values["recall"] for point in first_interactions[2]]
    assert recalls[-1] > recalls[0] + 0.02
