"""Losses of retrieval and rating."""

from __future__ import annotations

import tensorflow as tf


def multi_positive_softmax(logits: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy where a user wants several items; every user weighs the same.

    Args:
        logits: float32 [B, T].
        wanted: float32 [B, T], 0 or the weight of what is wanted, at least one a row.

    Returns:
        float32 scalar, nats per user.
    """
    positives = tf.reduce_sum(wanted, axis=1)
    log_likelihood = tf.reduce_sum(wanted * tf.nn.log_softmax(logits, axis=1), axis=1)
    return -tf.reduce_mean(log_likelihood / positives)


def squared_error(predicted: tf.Tensor, rating: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Weighted mean of the squared differences: float32 [B] three times to a scalar."""
    return tf.reduce_sum(weight * tf.square(predicted - rating)) / tf.reduce_sum(weight)
