"""The item tower and the retrieval score: what is learned about texts, apart from the shelf's data.

Both towers speak in rows of the item table. An item is its embedding (the kernel's side), its
attention over *anchors* (seen items whose co-purchases it inherits) and its demand. A user is the
set of embeddings of the history, one interest each, and a score for every anchor.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

# Half of an item's squared length comes from the encoder, half from its exact words.
_TEXT_SHARE: Final = 0.5
_TINY: Final = 1e-9
_LITTLE: Final = 1e-4


def item_features(text: tf.Tensor, lexical: tf.Tensor) -> tf.Tensor:
    """Encoder output [B, hidden] beside the lexical vector [B, lexical_size]: unit length."""
    return tf.concat(
        [text * _TEXT_SHARE**0.5, tf.cast(lexical, tf.float32) * (1 - _TEXT_SHARE) ** 0.5], axis=1
    )


class ItemTower(tf.Module):
    """Text features and price to embedding, attention key and demand.

    Both projections start as the principal components of the catalogue's features and learn a
    shift, so that before any training the tower already knows what the frozen texts know.
    """

    def __init__(self, features: npt.NDArray[np.float32], *, size: int, price_buckets: int) -> None:
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
        self._key_shift = tf.Variable(tf.zeros_like(components), name="key_shift")
        self._price = tf.Variable(tf.zeros([price_buckets + 1, size]), name="price")
        self._demand = tf.Variable(tf.zeros([size, 1]), name="demand")

    def __call__(
        self, features: tf.Tensor, price_bucket: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Apply the tower.

        Args:
            features: float32 [B, F] of `item_features`.
            price_bucket: int [B], 0 for unknown.

        Returns:
            embedding float32 [B, D] of unit length, attention key float32 [B, D] of unit length,
            demand float32 [B] in logits.
        """
        centered = (features - self._center) / self._scale
        projected = centered @ (self._components + self._embedding_shift)
        projected += tf.gather(self._price, price_bucket)
        key = centered @ (self._components + self._key_shift)
        return (
            tf.math.l2_normalize(projected, axis=-1),
            tf.math.l2_normalize(key, axis=-1),
            tf.squeeze(projected @ self._demand, axis=-1),
        )


class RetrievalScore(tf.Module):
    """Combines nearness to the history, inherited co-purchases and demand into one logit.

    With history h, item i, embeddings e, anchors j, their attention A and co-purchase scores t:

        q_i = Σ_j A_ij relu(t_j + d [j in h])
        a · log(mean_h exp(τ (e_h·e_i - 1))) + g · log(q_i / mean q + ε) + demand_i

    The first term is a kernel over the items of the history, so that each is an interest of its
    own instead of part of an average. The second hands EASE's item-item scores (Steck 2019,
    arXiv:1905.03375) to items without interactions, as MARec aligns them (arXiv:2404.13298).
    """

    def __init__(self) -> None:
        super().__init__(name="retrieval_score")
        self._log_sharpness = _scalar(np.log(8.0), "log_sharpness")
        self._log_attention = _scalar(np.log(12.0), "log_attention_sharpness")
        self._nearness_weight = _scalar(1.0, "nearness_weight")
        self._inheritance_weight = _scalar(0.3, "inheritance_weight")
        self._own_weight = _scalar(0.1, "own_weight")
        self._popularity_weight = _scalar(0.0, "popularity_weight")
        self._log_floor = _scalar(0.0, "log_floor")

    def nearness(self, embeddings: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        """exp(τ (cos - 1)) of embeddings [.., A, D] and others [.., B, D]: [.., A, B]."""
        cosine = tf.matmul(embeddings, others, transpose_b=True)
        return tf.exp(tf.exp(self._log_sharpness) * (cosine - 1.0))

    def attention_logits(self, keys: tf.Tensor, anchor_keys: tf.Tensor) -> tf.Tensor:
        """β · cosine of item keys [B, D] and anchor keys [A, D]: [B, A]."""
        return tf.exp(self._log_attention) * tf.matmul(keys, anchor_keys, transpose_b=True)

    def anchor_scores(self, teacher: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """Co-purchase scores of the anchors, plus a little for the bought ones; at least 0.

        Cut here and not in the sum, so that an item's share is linear in the anchors' scores.
        """
        return tf.nn.relu(teacher + self._own_weight * history)

    def inherited_demand(self, attention_times_log_popularity: tf.Tensor) -> tf.Tensor:
        """Demand in logits that an item takes over from the anchors it attends to."""
        return self._popularity_weight * attention_times_log_popularity

    def combine(
        self, *, near: tf.Tensor, inherited: tf.Tensor, reference: tf.Tensor,
        length: tf.Tensor, demand: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        """The logit of each item.

        Args:
            near: sum over the history of `nearness`, float32 [.., I].
            inherited: attention-weighted anchor scores, float32 [.., I], at least 0.
            reference: mean of `inherited` over cold items, float32 [.., 1].
            length: items in the history, float32 [.., 1], at least 1.
            demand: float32 [I].
        """
        floor = tf.exp(self._log_floor)
        inheritance = tf.math.log(inherited / (reference + _LITTLE) + floor)
        nearness = tf.math.log(near / length + _TINY)
        return self._nearness_weight * nearness + self._inheritance_weight * inheritance + demand


def principal_components(centered: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Leading eigenvectors of the covariance: float32 [F, min(size, F)].

    The eigenvectors' signs are arbitrary; each is turned so that its largest entry is positive,
    which makes two runs on the same data equal.
    """
    _, vectors = np.linalg.eigh(centered.T @ centered)
    leading = vectors[:, ::-1][:, :size]
    largest = np.abs(leading).argmax(axis=0)
    signs = np.sign(leading[largest, np.arange(leading.shape[1])])
    turned: npt.NDArray[np.float32] = (leading * signs).astype(np.float32)
    return turned


def _scalar(value: float, name: str) -> tf.Variable:
    return tf.Variable(float(value), dtype=tf.float32, name=name)
