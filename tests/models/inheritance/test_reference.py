import numpy as np

from models.inheritance.reference import reference_weight
from models.towers import user_logits

ANCHORS, USERS = 40, 300


def lists(items, seed=3):
    """Weights float32 [A, T] of new items, each of a few anchors."""
    random = np.random.default_rng(seed)
    weights = random.random((ANCHORS, items)) * (random.random((ANCHORS, items)) < 0.15)
    return weights.astype(np.float32)


def test_many_new_items_are_what_scores_are_relative_to():
    weights = lists(100_000)
    found = reference_weight(weights.sum(axis=1), weights.shape[1])
    np.testing.assert_allclose(found, weights.mean(axis=1), rtol=1e-3)


def test_few_new_items_count_beside_the_anchors():
    weights = lists(3)
    together = np.concatenate([np.eye(ANCHORS), weights], axis=1).mean(axis=1)
    expected = (weights.sum(axis=1) + 50 * together) / 53
    np.testing.assert_allclose(reference_weight(weights.sum(axis=1), 3), expected, rtol=1e-6)


def test_without_new_items_it_is_the_mean_anchor():
    found = reference_weight(np.zeros(ANCHORS, np.float32), 0)
    np.testing.assert_allclose(found, np.full(ANCHORS, 1 / ANCHORS), rtol=1e-6)
    assert reference_weight(np.zeros(0, np.float32), 0).shape == (0,)


def test_a_new_item_that_comes_alone_is_not_the_same_to_everybody():
    """Whoever wants it more than a usual item has the higher score."""
    random = np.random.default_rng(4)
    scores = random.gamma(1.0, size=(USERS, ANCHORS)).astype(np.float32)
    weights = lists(1)
    wanted = scores @ weights
    logits = user_logits(wanted, scores @ reference_weight(weights.sum(axis=1), 1))[:, 0]
    share = wanted[:, 0] / scores.mean(axis=1)
    assert np.corrcoef(np.argsort(np.argsort(logits)), np.argsort(np.argsort(share)))[0, 1] > 0.9
