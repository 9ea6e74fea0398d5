"""The rating head: `W·[rep(u), rep(i)] + b` in [0, 1], trained with squared error."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.options import Head
from models.rating_residual import make_residual

# Of a history, as many items at its end are read as a sequence.
_RECENT: Final = 32


def mean_interest(interests: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Mean embedding of a history, the same in training and when served.

    Args:
        interests: float32 [B, H, D].
        present: float32 [B, H], 1 for an item, 0 for padding.

    Returns:
        float32 [B, D], zeros for an empty history.
    """
    total = tf.reduce_sum(interests * present[:, :, tf.newaxis], axis=1)
    return total / tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1.0)


def recent_places(present: tf.Tensor) -> tf.Tensor:
    """Where the latest items of a history stand, oldest first; padding comes before them.

    Args:
        present: bool [B, H], whether there is an item.

    Returns:
        int32 [B, min(H, 32)], places in the second axis.
    """
    ordered = tf.argsort(tf.cast(present, tf.int32), axis=1, stable=True)
    return ordered[:, -_RECENT:]


def likeness(cosine: tf.Tensor) -> tf.Tensor:
    """How much a rated item says of another one, from the cosine of their embeddings."""
    return tf.square(tf.nn.relu(cosine))


class RatingHead(tf.Module):
    """Predicts a rating from what both towers represent.

    rep(u) is what the user gives above or below what was to be expected of the rated items, shrunk
    towards zero by their number (Koren 2008, baseline predictors), and the same once more of the
    items that are like the one in question (the neighbourhood model there, with likeness of
    embeddings), beside the mean embedding of the history and the projected profile; rep(i) is the
    item's quality (`models.inheritance.quality`) beside its embedding. The kinds of head other than
    "linear" add `models.rating_residual` to that.
    """

    def __init__(self, *, size: int, mean_rating: float, mean_target: float, head: Head) -> None:
        """Start at the average, the user's level and the item's quality.

        Args:
            size: D of the embeddings.
            mean_rating: average of the ratings in histories, in [0, 1].
            mean_target: average of what is predicted; another one for implicit feedback alone.
            head: kind of head.
        """
        super().__init__(name="rating_head")
        self._mean = tf.Variable(mean_rating, trainable=False, dtype=tf.float32, name="mean")
        self._log_shrinkage = tf.Variable(1.1, name="log_shrinkage")
        self._log_like_shrinkage = tf.Variable(0.0, name="log_like_shrinkage")
        self._bias_weight = tf.Variable(1.0, name="bias_weight")
        self._like_weight = tf.Variable(1.0, name="like_weight")
        self._quality_weight = tf.Variable(1.0, name="quality_weight")
        self._history_weight = tf.Variable(tf.zeros([size]), name="history_weight")
        self._profile_weight = tf.Variable(tf.zeros([size]), name="profile_weight")
        self._item_weight = tf.Variable(tf.zeros([size]), name="item_weight")
        self._b = tf.Variable(mean_target, dtype=tf.float32, name="b")
        self._residual = make_residual(head, size)

    def __call__(
        self, *, ratings: tf.Tensor, expected: tf.Tensor, rated: tf.Tensor, like: tf.Tensor,
        history: tf.Tensor, recent: tf.Tensor, interests: tf.Tensor, present: tf.Tensor,
        profile: tf.Tensor, quality: tf.Tensor, item: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        """Predict; not yet clipped to [0, 1].

        Args:
            ratings: float32 [B, H] of the history.
            expected: float32 [B, H], quality of the history's items.
            rated: float32 [B, H], 1 where a rating is known, 0 where padded or unknown.
            like: float32 [B, H], `likeness` of the history's items to the item in question.
            history: float32 [B, D], mean embedding of the history, zeros where there is none.
            recent: int32 [B, R], `recent_places` of the history.
            interests: float32 [B, R, D], embeddings at these places, zeros where padded.
            present: float32 [B, R], 1 where there is an item at these places.
            profile: float32 [B, D], projected profile, zeros where there is none.
            quality: float32 [B], of the items.
            item: float32 [B, D], embeddings of the items.

        Returns:
            float32 [B].
        """
        deviation = (ratings - self._mean - expected) * rated
        count = tf.reduce_sum(rated, axis=1)
        bias = tf.reduce_sum(deviation, axis=1) / (count + tf.exp(self._log_shrinkage))
        like = like * rated
        remaining = tf.reduce_sum(like * (deviation - bias[:, tf.newaxis]), axis=1)
        of_like = remaining / (tf.reduce_sum(like, axis=1) + tf.exp(self._log_like_shrinkage))
        linear = (
            self._bias_weight * bias
            + self._like_weight * of_like
            + self._quality_weight * quality
            + tf.linalg.matvec(history, self._history_weight)
            + tf.linalg.matvec(profile, self._profile_weight)
            + tf.linalg.matvec(item, self._item_weight)
            + self._b
        )
        if self._residual is None:
            return linear
        user = tf.concat([bias[:, tf.newaxis], history, profile], axis=1)
        given = tf.stack([tf.gather(x, recent, batch_dims=1) for x in (deviation, rated)], axis=2)
        return linear + self._residual(
            user=user,
            item=tf.concat([quality[:, tf.newaxis], item], axis=1),
            sequence=tf.concat([interests, given, present[:, :, tf.newaxis]], axis=2),
        )
