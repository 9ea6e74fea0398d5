"""The lexical path beside the encoder: exact words, model numbers and brands keep counting.

Word-piece unigrams and bigrams, weighted by TF-IDF, are hashed into a sparse random projection
("sketch") whose principal components Transform finds with a full pass. Together that is latent
semantic analysis of a TF-IDF matrix which never has to exist: the range finder of Halko,
Martinsson & Tropp (2011), with the sparse sign matrix of Kane & Nelson (2014). It needs no table
of words, so a new product's unseen bigram gets a place like any other.
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

BIGRAM_BUCKETS: Final = 1 << 17
SKETCH_SIZE: Final = 2048
_SIGNS_PER_TERM: Final = 4
# Odd multipliers of a multiplicative hash (Knuth, TAOCP vol. 3, section 6.4).
_LEFT: Final = 2654435761
_RIGHT: Final = 40503
_SEEDS: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)


def terms(pieces: tf.RaggedTensor, vocabulary_size: int) -> tf.RaggedTensor:
    """Ids of the word pieces and of the buckets of their bigrams.

    Args:
        pieces: ragged int64 [B, (pieces)], ids below `vocabulary_size`.
        vocabulary_size: the encoder's; bigram buckets are numbered from there on.

    Returns:
        ragged int64 [B, (terms)], below `vocabulary_size + BIGRAM_BUCKETS`.
    """
    left, right = pieces[:, :-1], pieces[:, 1:]
    mixed = tf.ragged.map_flat_values(
        lambda a, b: tf.math.floormod((a * _LEFT + b * _RIGHT) // 64, BIGRAM_BUCKETS), left, right
    )
    return tf.concat([pieces, mixed + vocabulary_size], axis=1)


def sketch(ids: tf.SparseTensor, weights: tf.SparseTensor) -> tf.Tensor:
    """Project weighted terms to float32 [B, SKETCH_SIZE], keeping inner products in expectation.

    Args:
        ids: sparse int64 [B, (terms)].
        weights: sparse float32, of the same indices.
    """
    rows = ids.indices[:, 0]
    batch = ids.dense_shape[0]
    total = tf.zeros([batch * SKETCH_SIZE], tf.float32)
    for seed in _SEEDS[:_SIGNS_PER_TERM]:
        mixed = tf.bitwise.bitwise_and((ids.values + 1) * seed, 0x7FFFFFFFFFFF) // 8191
        column = tf.math.floormod(mixed, SKETCH_SIZE)
        sign = tf.cast(tf.math.floormod(mixed // SKETCH_SIZE, 2) * 2 - 1, tf.float32)
        total += tf.math.unsorted_segment_sum(
            sign * tf.cast(weights.values, tf.float32),
            rows * SKETCH_SIZE + column,
            batch * SKETCH_SIZE,
        )
    return tf.math.l2_normalize(tf.reshape(total, [batch, SKETCH_SIZE]), axis=1)
