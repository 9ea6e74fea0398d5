"""The item tower and the retrieval score: what is known of items, apart from the shelf's data.

Both towers speak in rows of the item table. An item is its embedding and its weights over
*anchors*: seen items, whose co-purchases it inherits. A user is a score for every anchor.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import tensorflow as tf

from models.arrays import Floats

# Half of an item's squared length comes from the encoder, half from its exact words.
_TEXT_SHARE: Final = 0.5
_TINY: Final = 1e-9
LITTLE: Final = 1e-4
FLOOR: Final = 0.1


def item_features(text: tf.Tensor, lexical: tf.Tensor) -> tf.Tensor:
    """Encoder output [B, hidden] beside the sketch of the terms [B, lexical_size]: unit length."""
    return tf.concat(
        [text * _TEXT_SHARE**0.5, tf.cast(lexical, tf.float32) * (1 - _TEXT_SHARE) ** 0.5], axis=1
    )


class ItemTower(tf.Module):
    """Text features and price to an embedding.

    The projection starts as the principal components of the catalogue's features and learns a
    shift, so that before any training the tower already knows what the frozen texts know.
    """

    def __init__(self, features: Floats, *, size: int, price_buckets: int) -> None:
        """Start from a catalogue.

        Args:
            features: float32 [I, F] of `item_features`.
            size: D, the width of the embedding, at most F.
            price_buckets: number of price buckets besides 0, the unknown price.
        """
        super().__init__(name="item_tower")
        center = features.mean(axis=0)
        centered = features - center
        scale = np.sqrt((centered**2).sum(axis=1).mean()) + _TINY
        components = principal_components(centered, size)
        self._center = tf.Variable(center, trainable=False, name="center")
        self._scale = tf.Variable(scale, trainable=False, dtype=tf.float32, name="scale")
        self._components = tf.Variable(components, trainable=False, name="components")
        size = components.shape[1]
        self._embedding_shift = tf.Variable(tf.zeros_like(components), name="embedding_shift")
        self._price = tf.Variable(tf.zeros([price_buckets + 1, size]), name="price")

    def lexical_size(self, hidden: int) -> int:
        """Width of the sketch of the terms, beside an encoder of this width."""
        return int(self._center.shape[0]) - hidden

    def __call__(self, features: tf.Tensor, price_bucket: tf.Tensor) -> tf.Tensor:
        """Apply the tower.

        Args:
            features: float32 [B, F] of `item_features`.
            price_bucket: int [B], 0 for unknown.

        Returns:
            float32 [B, D] of unit length.
        """
        centered = (features - self._center) / self._scale
        projected = centered @ (self._components + self._embedding_shift)
        return tf.math.l2_normalize(projected + tf.gather(self._price, price_bucket), axis=-1)


def retrieval_logits(*, inherited: tf.Tensor, reference: tf.Tensor, demand: tf.Tensor) -> tf.Tensor:
    """The logit of each item for users with a history: log(max(q_i, 0) / max(q, 0) + ε) + demand_i.

    q_i are co-purchase scores (EASE, Steck 2019, arXiv:1905.03375), which items without
    interactions have from seen ones (`models.inheritance.alignment`). They are set in relation to
    the mean q of some items, so that users with long and with short histories are comparable.

    Args:
        inherited: q_i, float32 [B, I].
        reference: q, float32 [B, 1].
        demand: float32 [I], or [B, I].
    """
    return tf.math.log(relative(inherited, reference) + FLOOR) + demand


def relative(inherited: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """max(q_i, 0) / max(q, 0) of `retrieval_logits`, of tensors that broadcast."""
    return tf.nn.relu(inherited) / (tf.nn.relu(reference) + LITTLE)


def user_logits(inherited: Floats, reference: Floats) -> Floats:
    """`retrieval_logits` of arrays without demand: float32 [U, I] and [U] to float32 [U, I]."""
    logits: Floats = retrieval_logits(
        inherited=tf.constant(inherited),
        reference=tf.constant(reference[:, np.newaxis]),
        demand=tf.zeros([inherited.shape[1]]),
    ).numpy()
    return logits


def principal_components(centered: Floats, size: int) -> Floats:
    """Leading eigenvectors of the covariance: float32 [F, min(size, F)].

    The eigenvectors' signs are arbitrary; each is turned so that its largest entry is positive,
    which makes two runs on the same data equal.
    """
    _, vectors = np.linalg.eigh(centered.T @ centered)
    leading = vectors[:, ::-1][:, :size]
    largest = np.abs(leading).argmax(axis=0)
    signs = np.sign(leading[largest, np.arange(leading.shape[1])])
    turned: Floats = (leading * signs).astype(np.float32)
    return turned
