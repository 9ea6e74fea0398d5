import numpy as np
import pytest

from models import self_training
from models.inheritance.kernel import KernelSettings
from models.inheritance.simulation import purchase_matrix
from models.self_training import confident_pairs
from tests.models.oracle import aligned, kernel_matrix
from tests.models.test_training import USERS, deal_out, make_shop, view_of

SETTINGS = KernelSettings(ridge=1.0, order=0.0, side=0.0)
COUNT = 60


@pytest.fixture(scope="module")
def shop():
    inputs = make_shop()
    purchases = purchase_matrix(inputs.interactions.user, inputs.interactions.item, (USERS, 240))
    _, validation = deal_out(inputs, purchases)
    return view_of(inputs), validation.launch


def test_the_pairs_are_those_that_the_closed_form_scores_highest(shop):
    view, launch = shop
    found = confident_pairs(launch, view, SETTINGS, COUNT)
    others = np.setdiff1d(np.arange(240), launch.anchors)
    weights = aligned(
        kernel_matrix(view, SETTINGS), launch.anchors, launch.history.toarray(), SETTINGS.ridge
    )[:, others]
    scores = launch.history.toarray() @ launch.teacher @ weights
    bound = np.sort(scores.ravel())[-COUNT]
    pairs = found.toarray()[:, others]
    assert found.shape == (USERS, 240) and found.nnz == COUNT
    assert scores[pairs > 0].min() > 0.98 * bound
    assert not found[:, launch.anchors].nnz


def test_what_was_bought_of_the_hidden_items_is_not_looked_at(shop):
    view, launch = shop
    emptied = launch.wanted.copy()
    emptied.data[:] = 0.0
    other = confident_pairs(
        type(launch)(**(vars(launch) | {"wanted": emptied})), view, SETTINGS, COUNT
    )
    assert (other != confident_pairs(launch, view, SETTINGS, COUNT)).nnz == 0


def test_of_many_items_some_are_looked_at(shop, monkeypatch):
    view, launch = shop
    monkeypatch.setattr(self_training, "MOST_TARGETS", 7)
    found = confident_pairs(launch, view, SETTINGS, COUNT)
    assert 0 < len(np.unique(found.indices)) <= 7 and found.nnz == COUNT
    assert not found[:, launch.anchors].nnz
