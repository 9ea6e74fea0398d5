import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text

from models.encoders import lexical

VOCABULARY = 30_522
SIZE = 512


def as_ragged(rows, dtype):
    return tf.ragged.constant(rows, dtype=dtype, ragged_rank=1)


def as_sparse(rows, dtype):
    return as_ragged(rows, dtype).to_sparse()


def sketch(rows, weights):
    return lexical.sketch(as_ragged(rows, tf.int64), as_ragged(weights, tf.float32), SIZE).numpy()


def sketch_by_hand(terms, weights):
    """Each term adds its weight, with a sign, at four places; then to unit length."""
    vector = [0.0] * SIZE
    for term, weight in zip(terms, weights, strict=True):
        for seed in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F):
            mixed = (((term + 1) * seed) & 0x7FFFFFFFFFFF) // 8191
            sign = 1.0 if mixed // SIZE % 2 else -1.0
            vector[mixed % SIZE] += sign * weight
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector] if length else vector


def test_terms_are_the_pieces_and_the_buckets_of_neighbours():
    rows = [[5, 9, 30_521], [7], [], [2, 2]]
    found = lexical.terms(tf.ragged.constant(rows, tf.int64), VOCABULARY).to_list()
    for row, terms in zip(rows, found, strict=True):
        assert terms[: len(row)] == row
        expected = [
            VOCABULARY + (a * 2654435761 + b * 40503) // 64 % lexical.BIGRAM_BUCKETS
            for a, b in itertools.pairwise(row)
        ]
        assert terms[len(row) :] == expected


def test_a_bigram_knows_its_order_and_stays_below_the_number_of_terms():
    def bigrams(pairs):
        ragged = tf.RaggedTensor.from_tensor(tf.constant(pairs, tf.int64))
        return np.array(lexical.terms(ragged, VOCABULARY).to_list())[:, 2]

    pairs = np.random.default_rng(0).integers(0, VOCABULARY, (500, 2))
    forth, back = bigrams(pairs), bigrams(pairs[:, ::-1].copy())
    assert (forth != back).mean() > 0.99
    assert len(np.unique(forth)) > 490
    assert forth.min() >= VOCABULARY
    assert forth.max() < VOCABULARY + lexical.BIGRAM_BUCKETS


def test_vectors_side_by_side_weigh_the_same_whatever_their_length():
    ids, weights = lexical.side_by_side(
        [
            (as_sparse([[3, 5], [1]], tf.int64), as_sparse([[3.0, 4.0], [0.5]], tf.float32)),
            (as_sparse([[5], [0, 9]], tf.int64), as_sparse([[0.1], [2.0, 2.0]], tf.float32)),
        ],
        width=10,
    )
    dense = np.zeros((2, 20))
    dense[ids.value_rowids(), ids.values] = weights.values
    expected = np.zeros((2, 20))
    expected[0, [3, 5, 15]] = np.array([0.6, 0.8, 1.0]) / math.sqrt(2)
    expected[1, [1, 10, 19]] = np.array([math.sqrt(2), 1.0, 1.0]) / 2
    np.testing.assert_allclose(dense, expected, rtol=1e-6)


def test_an_item_without_a_name_is_what_its_description_says():
    name = (as_sparse([[], [4]], tf.int64), as_sparse([[], [1.0]], tf.float32))
    text = (as_sparse([[2], [4]], tf.int64), as_sparse([[7.0], [1.0]], tf.float32))
    ids, weights = lexical.side_by_side([text, name], width=10)
    assert ids.to_list() == [[2], [4, 14]]
    np.testing.assert_allclose(weights.values, [0.5**0.5] * 3, rtol=1e-6)


def test_a_sketch_is_four_signed_places_a_term():
    rows = [[3, 900, 160_000], [42], [3, 3]]
    weights = [[0.5, 1.0, 0.25], [2.0], [1.0, 1.0]]
    expected = [sketch_by_hand(r, w) for r, w in zip(rows, weights, strict=True)]
    np.testing.assert_allclose(sketch(rows, weights), expected, atol=1e-6)


def test_a_text_without_words_is_zeros_and_not_nan():
    assert (sketch([[1], []], [[1.0], []])[1] == 0.0).all()


def test_sketches_keep_the_cosine_of_what_they_stand_for():
    random = np.random.default_rng(1)
    first = random.choice(100_000, (60, 40), replace=False)
    second = first.copy()
    second[:, :20] = random.integers(100_000, 150_000, (60, 20))
    ones = np.ones_like(first, float)
    one, other = sketch(first.tolist(), ones.tolist()), sketch(second.tolist(), ones.tolist())
    cosine = (one * other).sum(1)
    # Half of the terms are shared; the sketch errs by 1 / sqrt(size) or so.
    assert cosine.mean() == pytest.approx(0.5, abs=0.02)
    assert cosine.std() < 3 / math.sqrt(SIZE)


def test_a_sketch_does_not_depend_on_the_batch_it_is_in():
    rows, weights = [[3, 900], [42, 7, 8]], [[0.5, 1.0], [2.0, 1.0, 1.0]]
    together = sketch(rows, weights)
    for place in range(2):
        alone = sketch(rows[place : place + 1], weights[place : place + 1])
        np.testing.assert_array_equal(alone[0], together[place])


# 0 is unknown; the vocabulary has words, and of Russian no more than letters.
PIECES = ["[UNK]", "red", "cup", "##s", "ч", "##а", "##ш", "##к", "杯", "の", "ー"]


def units(text):
    """Of one text that is read by a WordPiece tokenizer with `PIECES`."""
    words = tf.ragged.constant([text.split()])
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(PIECES, tf.range(len(PIECES), dtype=tf.int64)), 1
    )
    pieces = tensorflow_text.WordpieceTokenizer(table, token_out_type=tf.int64).tokenize(words)
    return lexical.units(words, pieces, unknown=0, vocabulary_size=VOCABULARY).to_list()[0]


def bucket(text):
    hashed = tf.strings.to_hash_bucket_fast(text, lexical.BIGRAM_BUCKETS)
    return VOCABULARY + int(hashed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red cups", [[1], [2, 3]]),  # what the vocabulary reads stays
        ("red pöt cup", [[1], ["pöt"], [2]]),
        ("чашка", [["чашка"]]),  # spelled, letter by letter
        ("ч cups", [[4], [2, 3]]),  # a letter that is a word
        ("杯 壺", [[8], ["壺"]]),  # an unknown Chinese character is told from others
        ("ティーのABC", [["テ", "ィ", "ー", "の", "ABC"]]),
        ("ชาเย็น", [["ช", "า", "เ", "ย", "็", "น"]]),
    ],
)
def test_words_that_the_vocabulary_cannot_read_stand_for_themselves(text, expected):
    wanted = [[bucket(u) if isinstance(u, str) else u for u in word] for word in expected]
    assert units(text) == wanted


def test_unknown_words_are_terms_that_items_share():
    def terms(text):
        flat = list(itertools.chain.from_iterable(units(text)))
        return set(lexical.terms(tf.ragged.constant([flat], tf.int64), VOCABULARY).to_list()[0])

    one, other, third = map(terms, ("синий чайник", "красный чайник", "壺 盆"))
    assert bucket("чайник") in one & other
    assert not one & third
