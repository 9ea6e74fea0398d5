import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from models.towers import ItemTower, item_features, principal_components, retrieval_logits


def catalogue(items=40, width=12, seed=0):
    random = np.random.default_rng(seed)
    scale = np.linspace(3, 0.2, width)
    features = random.normal(size=(items, width)) * scale @ random.normal(size=(width, width))
    return features.astype(np.float32)


def values(module):
    return {v.name.split(":")[0]: v.numpy().astype(float) for v in module.variables}


def randomized(module, seed=1):
    random = np.random.default_rng(seed)
    for variable in module.trainable_variables:
        variable.assign_add(random.normal(scale=0.3, size=variable.shape))
    return module


def test_features_give_encoder_and_words_half_of_the_squared_length_each():
    text, lexical = np.eye(3, dtype=np.float32), np.eye(3, 5, dtype=np.float32)
    made = item_features(text, lexical).numpy()
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose((made[:, :3] ** 2).sum(axis=1), 0.5, rtol=1e-6)
    # The cosine of two items is the mean of both cosines.
    other = item_features(text, np.roll(lexical, 1, axis=0)).numpy()
    np.testing.assert_allclose((made * other).sum(axis=1), 0.5, rtol=1e-6)


def test_components_are_those_of_a_principal_component_analysis():
    features = catalogue()
    found = principal_components(features - features.mean(axis=0), 5)
    expected = PCA(5, svd_solver="full").fit(features.astype(float)).components_.T
    np.testing.assert_allclose(np.abs((found * expected).sum(axis=0)), 1.0, atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)


def test_the_largest_entry_of_a_component_is_positive():
    found = principal_components(catalogue(), 6)
    assert (found[np.abs(found).argmax(axis=0), np.arange(6)] > 0).all()


def test_no_more_components_than_features():
    assert principal_components(catalogue(width=4), 99).shape == (4, 4)


def test_before_training_the_tower_knows_what_the_frozen_features_know():
    features = catalogue()
    found = ItemTower(features, size=99, price_buckets=3)(features, [0] * 40).numpy()
    centered = features - features.mean(axis=0)
    expected = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_the_tower_is_the_documented_formula():
    features, price = catalogue(), np.arange(40) % 4
    tower = randomized(ItemTower(features, size=5, price_buckets=3))
    v = values(tower)
    embedding = tower(features, price)
    centered = (features - features.mean(axis=0)) / np.sqrt(
        ((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()
    )
    projected = centered @ (v["components"] + v["embedding_shift"]) + v["price"][price]
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(embedding, unit(projected), atol=1e-4)


def test_what_comes_from_the_catalogue_is_not_trained():
    tower = ItemTower(catalogue(), size=5, price_buckets=3)
    frozen = {v.name for v in tower.variables} - {v.name for v in tower.trainable_variables}
    assert frozen == {"center:0", "scale:0", "components:0"}


def test_identical_items_do_not_divide_by_zero():
    features = np.ones((6, 4), np.float32)
    embedding = ItemTower(features, size=2, price_buckets=3)(features, [0] * 6)
    assert np.isfinite(embedding.numpy()).all()


def logits(**changes):
    given = {"inherited": [[0.3, 0.0, -0.2]], "reference": [[0.1]], "demand": [0.7, -0.1, 0.0]}
    arrays = {name: tf.constant(value, tf.float32) for name, value in (given | changes).items()}
    return retrieval_logits(**arrays).numpy()


def test_the_score_is_the_documented_formula():
    ratio = np.array([[0.3, 0.0, 0.0]]) / (0.1 + 1e-4)
    expected = np.log(ratio + 0.1) + np.array([0.7, -0.1, 0.0])
    np.testing.assert_allclose(logits(), expected, rtol=1e-5)


@pytest.mark.parametrize("inherited", [[[0.0, 0.0, 0.0]], [[1e6, 0.0, -1e6]]])
@pytest.mark.parametrize("reference", [0.0, -1.0])
def test_the_score_stays_finite_where_nothing_is_inherited(inherited, reference):
    assert np.isfinite(logits(inherited=inherited, reference=[[reference]])).all()
