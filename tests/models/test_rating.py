import numpy as np
import tensorflow as tf

from models.rating import RatingHead

SIZE = 3


def inputs(batch=4, width=5, seed=0):
    random = np.random.default_rng(seed)
    arrays = {
        "ratings": random.random((batch, width)),
        "expected": random.normal(scale=0.1, size=(batch, width)),
        "rated": (random.random((batch, width)) < 0.5).astype(float),
        "history": random.normal(size=(batch, SIZE)),
        "profile": random.normal(size=(batch, SIZE)),
        "quality": random.normal(size=batch),
        "item": random.normal(size=(batch, SIZE)),
    }
    return {name: tf.constant(array, tf.float32) for name, array in arrays.items()}


def variables(head):
    return {v.name.split(":")[0]: v for v in head.variables}


def test_an_untrained_head_adds_the_items_quality_for_a_user_of_whom_nothing_is_known():
    head = RatingHead(size=SIZE, mean_rating=0.7)
    given = inputs() | {"rated": tf.zeros([4, 5])}
    np.testing.assert_allclose(head(**given), 0.7 + given["quality"].numpy(), rtol=1e-5)


def test_the_users_bias_is_the_mean_deviation_from_the_expected_shrunk_by_the_number_of_ratings():
    head = RatingHead(size=SIZE, mean_rating=0.5)
    shrinkage = np.exp(1.1)
    ratings = tf.constant([[1.0, 1.0, 0.25], [1.0, 0.3, 0.9]])
    rated = tf.constant([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    given = {name: tf.zeros([2, SIZE]) for name in ("history", "profile", "item")}
    expected = tf.constant([[0.2, -0.1, 9.0], [9.0, 9.0, 9.0]])
    predicted = head(
        ratings=ratings, expected=expected, rated=rated, quality=tf.zeros([2]), **given
    )
    np.testing.assert_allclose(predicted, [0.5 + 0.9 / (2 + shrinkage), 0.5], rtol=1e-6)


def test_the_head_is_linear_in_both_representations():
    head = RatingHead(size=SIZE, mean_rating=0.4)
    random = np.random.default_rng(1)
    for variable in head.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    value = {name: v.numpy() for name, v in variables(head).items()}
    given = inputs()
    n = {name: tensor.numpy() for name, tensor in given.items()}
    bias = ((n["ratings"] - 0.4 - n["expected"]) * n["rated"]).sum(1) / (
        n["rated"].sum(1) + np.exp(value["log_shrinkage"])
    )
    expected = (
        value["bias_weight"] * bias
        + value["quality_weight"] * n["quality"]
        + n["history"] @ value["history_weight"]
        + n["profile"] @ value["profile_weight"]
        + n["item"] @ value["item_weight"]
        + value["b"]
    )
    np.testing.assert_allclose(head(**given), expected, rtol=1e-4, atol=1e-5)


def test_the_mean_rating_is_not_trained_and_everything_else_is():
    head = RatingHead(size=SIZE, mean_rating=0.4)
    trained = {v.name for v in head.trainable_variables}
    assert {v.name for v in head.variables} - trained == {"mean:0"}
