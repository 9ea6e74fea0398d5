"""The lexical path beside the encoder: exact words, model numbers and brands keep counting.

An item's terms are the units of its texts and the pairs of neighbouring ones, weighted by TF-IDF
(`tft.tfidf`). A unit is a word piece. Where the encoder's vocabulary can't read a word it is the
word itself, and where a script has no blanks between words, each of its characters.

The terms' vectors are sparse and wide, and the item kernel compares them as they are. The item
tower needs a dense vector and gets a sketch of them: a sparse random projection (Kane & Nelson
2014). Pairs are hashed, so there is no table of words, and a new product's unseen pair gets a place
like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import tensorflow as tf

BIGRAM_BUCKETS: Final = 1 << 17
# Scripts that don't separate words; Chinese characters are words of their own before they get here.
# The last one lengthens a Japanese vowel and belongs to two scripts.
_UNSEPARATED: Final = (
    r"[\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\x{30FC}]"
)
_OTHER_LETTER: Final = r"[^\P{L}\p{Latin}]"
_SIGNS_PER_TERM: Final = 4
# Odd multipliers of a multiplicative hash (Knuth, TAOCP vol. 3, section 6.4).
_LEFT: Final = 2654435761
_RIGHT: Final = 40503
_SEEDS: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)


def units(
    words: tf.RaggedTensor, pieces: tf.RaggedTensor, *, unknown: int, vocabulary_size: int
) -> tf.RaggedTensor:
    """The word pieces of each word, or what stands for them where they would tell nothing.

    That is so where the vocabulary doesn't know the word, and where it can only spell it: an
    English vocabulary has the letters of Russian and no more. Such a word gets a bucket of its own.
    A run of a script without blanks would be one word; each of its characters gets a bucket, and
    with the pairs of neighbours these are character n-grams.

    Args:
        words: string [B, (words)].
        pieces: ragged int64 [B, (words), (pieces)].
        unknown: id of [UNK].
        vocabulary_size: buckets are numbered from there on, and shared with those of pairs.

    Returns:
        ragged int64 [B, (words), (units)].
    """
    word, known = words.values, pieces.values
    is_run = _holds(word, _UNSEPARATED)
    letters = tf.strings.length(word, "UTF8_CHAR")
    is_spelled = (
        _holds(word, _OTHER_LETTER)
        & (letters > 1)
        & (tf.cast(letters, tf.int64) == known.row_lengths())
    )
    is_unread = is_run | is_spelled | tf.reduce_any(known == unknown, axis=1)
    kept = tf.ragged.boolean_mask(
        known, known.with_values(~tf.gather(is_unread, known.value_rowids()))
    )
    # Blanks around each character of a run, and nothing of words that are read.
    spaced = tf.strings.regex_replace(word, f"({_UNSEPARATED})", r" \1 ")
    own = tf.strings.split(tf.where(is_unread, spaced, ""))
    buckets = own.with_values(
        tf.strings.to_hash_bucket_fast(own.values, BIGRAM_BUCKETS) + vocabulary_size
    )
    return words.with_values(tf.concat([kept, buckets], axis=1))


def _holds(word: tf.Tensor, pattern: str) -> tf.Tensor:
    return tf.strings.regex_full_match(word, f".*{pattern}.*")


def terms(units: tf.RaggedTensor, vocabulary_size: int) -> tf.RaggedTensor:
    """Ids of the units and of the buckets of their bigrams.

    Args:
        units: ragged int64 [B, (units)].
        vocabulary_size: the encoder's; buckets are numbered from there on.

    Returns:
        ragged int64 [B, (terms)], below `vocabulary_size + BIGRAM_BUCKETS`.
    """
    return tf.concat([units, pairs(units, vocabulary_size)], axis=1)


def pairs(units: tf.RaggedTensor, vocabulary_size: int) -> tf.RaggedTensor:
    """Ids of the buckets of the bigrams alone: of n units n - 1, as in `terms`."""
    left, right = units[:, :-1], units[:, 1:]
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
