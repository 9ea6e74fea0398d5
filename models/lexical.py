"""The lexical path beside the encoder: exact words, model numbers and brands keep counting.

An item's terms are the word pieces of its texts and the pairs of neighbouring ones, weighted by
TF-IDF (`tft.tfidf`). Their vectors are sparse and wide, and the item kernel compares them as they
are. The item tower needs a dense vector and gets a sketch of them: a sparse random projection
(Kane & Nelson 2014). Pairs are hashed, so there is no table of words, and a new product's unseen
pair gets a place like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import tensorflow as tf

BIGRAM_BUCKETS: Final = 1 << 17
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
    return tf.concat([pieces, pairs(pieces, vocabulary_size)], axis=1)


def pairs(pieces: tf.RaggedTensor, vocabulary_size: int) -> tf.RaggedTensor:
    """Ids of the buckets of the bigrams alone: of n pieces n - 1, as in `terms`."""
    left, right = pieces[:, :-1], pieces[:, 1:]
    mixed = tf.ragged.map_flat_values(
        lambda a, b: tf.math.floormod((a * _LEFT + b * _RIGHT) // 64, BIGRAM_BUCKETS), left, right
    )
    return mixed + vocabulary_size


def side_by_side(
    vectors: Sequence[tuple[tf.SparseTensor, tf.SparseTensor]], *, width: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Several sparse vectors of an item as one of unit length, all of equal weight.

    Args:
        vectors: of each, ids sparse int64 [B, (terms)] below `width` and weights sparse float32 of
            the same indices.
        width: the ids of the n-th begin at n times that.

    Returns:
        ids ragged int64 [B, (terms)] and weights ragged float32. An item without terms in one of
        the vectors is shorter.
    """
    ids, weights = [], []
    for place, (own_ids, own_weights) in enumerate(vectors):
        row, items = own_weights.indices[:, 0], own_weights.dense_shape[0]
        squares = tf.math.unsorted_segment_sum(own_weights.values**2, row, items)
        scale = tf.math.rsqrt(len(vectors) * tf.gather(squares, row))
        ids.append(_rows(own_ids.values + place * width, row, items))
        weights.append(_rows(own_weights.values * scale, row, items))
    return _joined(ids), _joined(weights)


def _rows(values: tf.Tensor, row: tf.Tensor, rows: tf.Tensor) -> tf.RaggedTensor:
    # An assertion would run in Transform's first pass, where the weights don't exist yet.
    return tf.RaggedTensor.from_value_rowids(values, row, rows, validate=False)


def _joined(parts: Sequence[tf.RaggedTensor]) -> tf.RaggedTensor:
    whole = tf.concat(parts, axis=1)
    # Transform has to know the rank of what it writes, and its own tensors come without one.
    return whole.with_values(tf.reshape(whole.values, [-1]))


def sketch(ids: tf.RaggedTensor, weights: tf.RaggedTensor, size: int) -> tf.Tensor:
    """Project weighted terms to float32 [B, size], keeping inner products in expectation.

    Args:
        ids: ragged int64 [B, (terms)].
        weights: ragged float32, of the same rows.
        size: of the result, whose rows have unit length; zeros without terms.
    """
    rows, batch = ids.value_rowids(), ids.nrows()
    total = tf.zeros([batch * size], tf.float32)
    for column, sign in places(ids.values, size):
        total += tf.math.unsorted_segment_sum(
            sign * weights.values, rows * size + column, batch * size
        )
    return tf.math.l2_normalize(tf.reshape(total, [batch, size]), axis=1)


def places(ids: tf.Tensor, size: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Where the projection puts terms int64 [..]: columns int64 [..] with signs float32 [..]."""
    found = []
    for seed in _SEEDS[:_SIGNS_PER_TERM]:
        mixed = tf.bitwise.bitwise_and((ids + 1) * seed, 0x7FFFFFFFFFFF) // 8191
        sign = tf.cast(tf.math.floormod(mixed // size, 2) * 2 - 1, tf.float32)
        found.append((tf.math.floormod(mixed, size), sign))
    return found
