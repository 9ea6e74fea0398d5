import numpy as np
import pytest
import tensorflow as tf

from models.losses import multi_positive_softmax, squared_error


def test_softmax_averages_over_a_users_items_before_it_averages_over_users():
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, 7)).astype(np.float32)
    wanted = (random.random((5, 7)) < 0.4).astype(np.float32)
    wanted[:, 0] = 1.0
    expected = []
    for row, positive in zip(logits.astype(np.float64), wanted, strict=True):
        probabilities = np.exp(row) / np.exp(row).sum()
        expected.append(-np.log(probabilities[positive == 1.0]).mean())
    assert float(multi_positive_softmax(logits, wanted)) == pytest.approx(np.mean(expected), 1e-5)


def test_softmax_of_equal_logits_is_the_log_of_the_choices():
    loss = multi_positive_softmax(tf.zeros([2, 8]), tf.one_hot([3, 5], 8))
    assert float(loss) == pytest.approx(np.log(8), 1e-6)


def test_softmax_stays_finite_for_huge_logits():
    loss = multi_positive_softmax(tf.constant([[1e4, -1e4]]), tf.constant([[0.0, 1.0]]))
    assert np.isfinite(float(loss))


def test_squared_error_is_a_mean_over_ratings():
    ones = tf.ones([2])
    assert float(squared_error(tf.constant([0.0, 1.0]), tf.constant([0.5, 0.0]), ones)) == 0.625


def test_a_rating_counts_by_its_weight():
    weight = tf.constant([3.0, 1.0])
    error = squared_error(tf.constant([0.0, 1.0]), tf.constant([0.5, 0.0]), weight)
    assert float(error) == pytest.approx((3 * 0.25 + 1.0) / 4)
