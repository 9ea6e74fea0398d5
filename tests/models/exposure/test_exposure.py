"""Exposure of new items that is evened out, at a bounded price."""

import numpy as np
import pytest
import scipy.sparse as sp

from models.exposure.balancing import (
    STRENGTHS,
    Traded,
    balanced,
    evened_out,
    strongest,
    traded,
)
from models.exposure.measures import exposures, gini
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch
from models.ranking import PLACES

USERS, ITEMS = 300, 120


@pytest.fixture(scope="module")
def logits():
    """Everybody wants some of the same items, and a little of others."""
    random = np.random.default_rng(1)
    return (random.normal(size=(USERS, ITEMS)) + 2 * random.random(ITEMS)).astype(np.float32)


def shown(logits, offset, places=10):
    best = np.argsort(-(logits + offset), axis=1, kind="stable")[:, :places]
    return exposures(best, logits.shape[1])


def test_more_strength_is_more_even_and_gives_up_more(logits):
    offsets = [balanced(logits, strength, places=10) for strength in (0.0, 0.1, 0.5, 2.0)]
    assert not offsets[0].any()
    inequality = [gini(shown(logits, offset), ITEMS) for offset in offsets]
    assert inequality == sorted(inequality, reverse=True)
    assert inequality[-1] < 0.5 * inequality[0]
    worth = [
        np.take_along_axis(logits, np.argsort(-(logits + offset), axis=1)[:, :10], axis=1).sum()
        for offset in offsets
    ]
    assert worth == sorted(worth, reverse=True)


def test_an_item_pays_for_what_it_is_shown_more_than_the_average(logits):
    offset = balanced(logits, 0.5, places=10)
    mean = USERS * 10 / ITEMS
    np.testing.assert_allclose(offset, -0.5 * (shown(logits, offset) / mean - 1), atol=0.08)
    assert offset.max() <= 0.5 + 1e-6


def test_where_everything_is_listed_nothing_is_evened_out(logits):
    assert not balanced(logits[:, :8], 1.0, places=10).any()
    assert not balanced(logits[:0], 1.0, places=10).any()


@pytest.fixture(scope="module")
def launched():
    """Customers of two tastes, and new items of which some look like everything."""
    random = np.random.default_rng(2)
    anchors, targets = 40, 90
    taste = np.arange(USERS) % 2
    likes = random.random((USERS, anchors)) < np.where(
        (np.arange(anchors) % 2) == taste[:, np.newaxis], 0.3, 0.05
    )
    wanted = random.random((USERS, targets)) < np.where(
        (np.arange(targets) % 2) == taste[:, np.newaxis], 0.15, 0.02
    )
    purchases = sp.csr_matrix(np.hstack([likes, wanted]).astype(np.float32))
    launch = SimulatedLaunch.hide(
        purchases, targets=np.arange(anchors, anchors + targets), anchors=np.arange(anchors),
        regularization=5.0,
    )  # fmt: skip
    weights = random.random((anchors, targets)) / anchors
    weights[np.arange(targets) % anchors, np.arange(targets)] += random.random(targets)
    return AlignedLaunch(launch, weights.astype(np.float32))


def test_the_curve_is_what_lists_of_the_launch_come_to(launched):
    points = traded(launched, (0.0, 0.4))
    before = None
    launch, weights = launched.launch, launched.weights
    scores = launch.history[launch.users] @ launch.teacher
    # As `models.inheritance.reference` has it: 50 items that are as typical as all of them.
    together = (weights.sum(axis=1) + 1) / np.add(*weights.shape)
    typical = (weights.sum(axis=1) + 50 * together) / (weights.shape[1] + 50)
    inherited, reference = scores @ weights, scores @ typical
    logit = np.log(
        np.maximum(inherited, 0) / (np.maximum(reference, 0) + 1e-4)[:, np.newaxis] + 0.1
    )
    for point in points:
        offset = evened_out(launch.history, launch.teacher, weights, typical, point.strength)
        best = np.argsort(-(logit + offset), axis=1, kind="stable")[:, :PLACES]
        wanted = launch.wanted[launch.users].toarray()
        hits = np.take_along_axis(wanted, best, axis=1).sum(axis=1)
        recall = hits / np.minimum(wanted.sum(axis=1), PLACES)
        before = recall if before is None else before
        assert point.recall == pytest.approx(recall.mean(), abs=2e-3)
        # What the mean over users drawn anew exceeds in 95 of 100 cases.
        drawn = np.random.default_rng(3).integers(len(recall), size=(4000, len(recall)))
        change = (recall - before)[drawn].mean(axis=1)
        assert point.least == pytest.approx(before.mean() + np.quantile(change, 0.05), abs=2e-3)
        counts = exposures(best, len(offset))
        assert point.gini == pytest.approx(gini(counts, len(counts)), abs=5e-3)
        assert point.coverage == pytest.approx((counts > 0).mean(), abs=0.02)
    assert points[1].gini < 0.8 * points[0].gini
    assert points[0].least == points[0].recall
    assert points[1].least < points[1].recall - 5e-3


def test_the_strongest_is_chosen_whose_loss_is_surely_within_the_bound():
    strengths = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    least = (0.5, 0.51, 0.49, 0.47, 0.495, 0.3)
    # The mean would allow all of them.
    points = [
        Traded(strength, recall=0.5, least=bound, ndcg=0.0, gini=0.0, coverage=0.0)
        for strength, bound in zip(strengths, least, strict=True)
    ]
    assert strongest(points, 0.0) == 0.0
    assert strongest(points, 0.03) == 0.2
    assert strongest(points, 0.07) == 0.4
    assert strongest(points, 0.9) == 0.5
    assert strongest([*points[:2], points[2]._replace(least=0.25)], 0.5) == 0.2, "the bound itself"


def test_users_without_a_history_have_no_part_in_what_is_evened_out(launched):
    launch, weights, reference = launched.launch, launched.weights, launched.reference
    nobody = sp.csr_matrix((200, launch.history.shape[1]), dtype=np.float32)
    found, beside = (
        evened_out(history, launch.teacher, weights, reference, 0.4)
        for history in (launch.history, sp.vstack([nobody, launch.history]).tocsr())
    )
    assert found.any()
    np.testing.assert_array_equal(beside, found)


def test_a_report_has_the_strength_in_hundredths_and_the_bound_of_the_recall():
    point = Traded(0.14, recall=0.5, least=0.45, ndcg=0.3, gini=0.7, coverage=0.9).point()
    values = {"recall": 0.5, "recall_at_least": 0.45, "gini": 0.7, "coverage": 0.9}
    assert (point.at, point.values) == (14, values)


@pytest.mark.parametrize("users", [0, 1, 2])
def test_a_launch_that_hardly_anybody_wants_anything_of_has_no_curve(launched, users):
    launch = launched.launch
    few = AlignedLaunch(
        SimulatedLaunch(**{**vars(launch), "users": launch.users[:users]}), launched.weights
    )
    assert bool(traded(few, (0.0,))) == (users > 1)


def of_targets(launched, count):
    """The same launch with the first of its targets alone."""
    launch = launched.launch
    fewer = {"targets": launch.targets[:count], "wanted": launch.wanted[:, :count]}
    fewer["users"] = np.intersect1d(launch.users, np.flatnonzero(fewer["wanted"].getnnz(axis=1)))
    few = SimulatedLaunch(**vars(launch) | fewer)
    return AlignedLaunch(few, launched.weights[:, :count])


@pytest.mark.parametrize("count", [PLACES, PLACES + 1, 39])
def test_a_launch_most_of_which_is_in_any_list_can_not_tell_that_exposure_may_be_evened_out(
    launched, count
):
    few = of_targets(launched, count)
    wanted, random = few.launch.wanted[few.launch.users].toarray(), np.random.default_rng(7)
    lists = random.permuted(np.tile(np.arange(count), (len(wanted), 1)), axis=1)[:, :PLACES]
    hits = np.take_along_axis(wanted, lists, axis=1).sum(axis=1)
    assert (hits / wanted.sum(axis=1)).mean() > 0.5, "of lists by chance"
    assert strongest(traded(few), 0.99) == 0.0


def test_a_launch_of_twice_as_many_items_as_a_list_has_places_can_tell(launched):
    points = traded(of_targets(launched, 2 * PLACES))
    assert [point.strength for point in points] == list(STRENGTHS)
    assert strongest(points, 0.99) == STRENGTHS[-1]
