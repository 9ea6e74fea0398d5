import numpy as np
import pytest
import tensorflow as tf

from models.rating import RatingHead, recent_places

SIZE = 3
HEADS = ("mlp", "cnn", "rnn")


def make_head(mean_rating, head="linear"):
    return RatingHead(size=SIZE, mean_rating=mean_rating, mean_target=mean_rating, head=head)


def inputs(batch=4, width=5, seed=0):
    random = np.random.default_rng(seed)
    arrays = {
        "ratings": random.random((batch, width)),
        "expected": random.normal(scale=0.1, size=(batch, width)),
        "rated": (random.random((batch, width)) < 0.5).astype(float),
        "like": random.random((batch, width)),
        "history": random.normal(size=(batch, SIZE)),
        "profile": random.normal(size=(batch, SIZE)),
        "quality": random.normal(size=batch),
        "item": random.normal(size=(batch, SIZE)),
        "interests": random.normal(size=(batch, width, SIZE)),
        "present": np.ones((batch, width)),
    }
    made = {name: tf.constant(array, tf.float32) for name, array in arrays.items()}
    return made | {"recent": tf.tile(tf.range(width)[tf.newaxis], [batch, 1])}


def randomise(head, seed=1):
    """Give every weight a random value; no part of the head is without effect then."""
    random = np.random.default_rng(seed)
    for variable in head.trainable_variables:
        variable.assign(random.normal(size=variable.shape))


def variables(head):
    return {v.name.split(":")[0]: v for v in head.variables}


def test_an_untrained_head_adds_the_items_quality_for_a_user_of_whom_nothing_is_known():
    head = make_head(0.7)
    given = inputs() | {"rated": tf.zeros([4, 5])}
    np.testing.assert_allclose(head(**given), 0.7 + given["quality"].numpy(), rtol=1e-5)


def test_the_users_bias_is_the_mean_deviation_from_the_expected_shrunk_by_the_number_of_ratings():
    head = make_head(0.5)
    shrinkage = np.exp(1.1)
    ratings = tf.constant([[1.0, 1.0, 0.25], [1.0, 0.3, 0.9]])
    rated = tf.constant([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    given = inputs(2, 3) | {name: tf.zeros([2, SIZE]) for name in ("history", "profile", "item")}
    given["like"] = tf.zeros([2, 3])
    expected = tf.constant([[0.2, -0.1, 9.0], [9.0, 9.0, 9.0]])
    given |= {"ratings": ratings, "expected": expected, "rated": rated, "quality": tf.zeros([2])}
    predicted = head(**given)
    np.testing.assert_allclose(predicted, [0.5 + 0.9 / (2 + shrinkage), 0.5], rtol=1e-6)


def test_what_was_given_to_like_items_counts_beside_the_users_level():
    head = make_head(0.5)
    given = inputs(1, 3) | {name: tf.zeros([1, SIZE]) for name in ("history", "profile", "item")}
    given |= {
        "ratings": tf.constant([[0.9, 0.1, 0.7]]), "expected": tf.zeros([1, 3]),
        "rated": tf.constant([[1.0, 1.0, 0.0]]), "like": tf.constant([[0.8, 0.2, 1.0]]),
        "quality": tf.zeros([1]),
    }  # fmt: skip
    bias = (0.4 - 0.4) / (2 + np.exp(1.1))
    of_like = (0.8 * (0.4 - bias) + 0.2 * (-0.4 - bias)) / (0.8 + 0.2 + 1.0)
    np.testing.assert_allclose(head(**given), [0.5 + bias + of_like], rtol=1e-5)


def test_the_head_is_linear_in_both_representations():
    head = make_head(0.4)
    randomise(head)
    value = {name: v.numpy() for name, v in variables(head).items()}
    given = inputs()
    n = {name: tensor.numpy() for name, tensor in given.items()}
    bias = ((n["ratings"] - 0.4 - n["expected"]) * n["rated"]).sum(1) / (
        n["rated"].sum(1) + np.exp(value["log_shrinkage"])
    )
    like = n["like"] * n["rated"]
    rest = ((n["ratings"] - 0.4 - n["expected"]) - bias[:, np.newaxis]) * like
    of_like = rest.sum(1) / (like.sum(1) + np.exp(value["log_like_shrinkage"]))
    expected = (
        value["bias_weight"] * bias
        + value["like_weight"] * of_like
        + value["quality_weight"] * n["quality"]
        + n["history"] @ value["history_weight"]
        + n["profile"] @ value["profile_weight"]
        + n["item"] @ value["item_weight"]
        + value["b"]
    )
    np.testing.assert_allclose(head(**given), expected, rtol=1e-4, atol=1e-5)


def test_the_mean_rating_is_not_trained_and_everything_else_is():
    head = make_head(0.4)
    trained = {v.name for v in head.trainable_variables}
    assert {v.name for v in head.variables} - trained == {"mean:0"}


def test_the_latest_items_of_a_history_come_last_and_in_their_order():
    present = np.zeros((3, 40), bool)
    present[0, :3] = present[1, :36] = True
    present[2, [1, 4]] = True
    places = recent_places(tf.constant(present)).numpy()
    assert places.shape == (3, 32)
    assert list(places[0, -3:]) == [0, 1, 2]
    assert list(places[1]) == list(range(4, 36))
    assert list(places[2, -2:]) == [1, 4]
    assert recent_places(tf.zeros([2, 0], tf.bool)).shape == (2, 0)


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_starts_as_the_linear_one(kind):
    given = inputs()
    np.testing.assert_allclose(make_head(0.4, kind)(**given), make_head(0.4)(**given), rtol=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_every_weight_of_a_head_learns(kind):
    head = make_head(0.4, kind)
    randomise(head)
    with tf.GradientTape() as tape:
        error = tf.reduce_sum(tf.square(head(**inputs()) - 0.5))
    for gradient in tape.gradient(error, head.trainable_variables):
        assert np.abs(gradient).max() > 0


def test_an_mlp_is_the_linear_head_and_one_hidden_layer_over_both_representations():
    head = make_head(0.4, "mlp")
    randomise(head)
    linear = make_head(0.4)
    values = variables(head)
    for name, variable in variables(linear).items():
        variable.assign(values[name])
    given = inputs()
    n = {name: tensor.numpy() for name, tensor in given.items()}
    bias = ((n["ratings"] - 0.4 - n["expected"]) * n["rated"]).sum(1) / (
        n["rated"].sum(1) + np.exp(values["log_shrinkage"])
    )
    both = np.column_stack([bias, n["history"], n["profile"], n["quality"], n["item"]])
    hidden, offset, out = (v.numpy() for v in head._residual._weights)
    added = np.maximum(both @ hidden + offset, 0) @ out[:, 0]
    np.testing.assert_allclose(head(**given), linear(**given) + added, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ("cnn", "rnn"))
def test_a_sequence_head_reads_order_and_ratings_and_no_padding(kind):
    head = make_head(0.4, kind)
    randomise(head)
    given = inputs(2, 4)
    answer = head(**given).numpy()
    turned = given | {"interests": given["interests"][:, ::-1]}
    assert np.abs(head(**turned) - answer).min() > 1e-3
    # The same ratings of other items leave the linear head as it is.
    rated = given | {"rated": tf.ones([2, 4])}
    exchanged = rated | {"ratings": rated["ratings"][:, ::-1]}
    assert np.abs(head(**rated) - head(**exchanged)).min() > 1e-3
    of_history = ("ratings", "expected", "rated", "like")
    # As a longer batch would pad it: nothing at the end of the history, and so first in the order.
    padded = given | {
        **{name: tf.pad(given[name], [[0, 0], [0, 3]]) for name in of_history},
        "recent": tf.constant([[4, 5, 6, 0, 1, 2, 3]] * 2),
        "interests": tf.pad(given["interests"], [[0, 0], [3, 0], [0, 0]]),
        "present": tf.pad(given["present"], [[0, 0], [3, 0]]),
    }
    np.testing.assert_allclose(head(**padded), answer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_answers_without_any_history(kind):
    head = make_head(0.4, kind)
    randomise(head)
    given = inputs(2, 0)
    assert np.isfinite(head(**given)).all()


@pytest.mark.parametrize("kind", HEADS)
def test_a_saved_head_answers_as_it_did(kind, tmp_path):
    head = make_head(0.4, kind)
    randomise(head)
    given = inputs()
    names = sorted(given)
    shapes: list[list[int | None]] = [[None] * given[name].shape.rank for name in names]
    for name, shape in zip(names, shapes, strict=True):
        shape[-1] = SIZE if name in ("history", "profile", "item", "interests") else None
    module = tf.Module()
    module.head = head
    module.ask = tf.function(
        lambda *tensors: head(**dict(zip(names, tensors, strict=True))),
        input_signature=[
            tf.TensorSpec(shape, given[name].dtype)
            for name, shape in zip(names, shapes, strict=True)
        ],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(
        loaded.ask(*(given[name] for name in names)), head(**given), rtol=1e-5
    )
