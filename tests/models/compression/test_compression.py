"""Small encoders: what a student learns, what rounding and pruning do, and that all are saved."""

import numpy as np
import pytest
import tensorflow as tf

from models.compression import teaching
from models.compression.compress import compress, restored, weight_bytes
from models.compression.int8 import Int8Dense, rounded
from models.compression.layers import untaught_layers
from models.compression.pruning import pruned
from models.compression.teaching import Lessons
from models.encoders.encoder import TextEncoder
from models.encoders.reading import encode
from models.errors import BadInput
from models.options import CompressionOptions
from tests.models.encoders.test_encoder import saved_and_loaded
from tests.tiny_bert import HIDDEN

NONE = CompressionOptions(student="none", layers=1, steps=60, pruned_share=0.0, weights="float32")


def options(**changes):
    return NONE.model_copy(update=changes)


@pytest.fixture(scope="module")
def teacher(bert):
    return TextEncoder(bert)


@pytest.fixture(scope="module")
def vectors(teacher, table):
    return encode(teacher, table.tokens)


@pytest.fixture(scope="module")
def made(bert, teacher, table, vectors):
    """Compresses the tiny encoder on the shop's texts; the same twice is made once."""
    known = {}

    def make(**changes):
        key = tuple(sorted(changes.items()))
        if key not in known:
            known[key] = compress(
                teacher, bert, table.tokens, vectors, read=encode, options=options(**changes),
                seed=1,
            )  # fmt: skip
        return known[key]

    return make


def agreement(encoder, tokens, vectors):
    """Mean cosine with the teacher."""
    return float((encode(encoder, tokens) * vectors).sum(axis=1).mean())


def unseen(table, teacher):
    """The words of two products, one after the other: texts outside the lessons."""
    rows = np.random.default_rng(4).permutation(len(table.tokens))
    one, other = table.tokens[rows[:30]], table.tokens[rows[30:60]]
    both = [
        [*a[a != 0][:-1], *b[b != 0][1:]][: one.shape[1]] for a, b in zip(one, other, strict=True)
    ]
    tokens = np.array([[*text, *[0] * (one.shape[1] - len(text))] for text in both], np.int32)
    return tokens, encode(teacher, tokens)


@pytest.mark.parametrize("student", ["static", "layers"])
def test_a_student_reads_texts_as_its_teacher_does_also_new_ones(made, table, teacher, student):
    taught = made(student=student)
    tokens, wanted = unseen(table, teacher)
    assert agreement(taught, table.tokens, encode(teacher, table.tokens)) > 0.95
    assert agreement(taught, tokens, wanted) > 0.9


def test_a_student_of_layers_learns_beyond_what_the_layers_were(made, bert, table, vectors):
    untaught = agreement(untaught_layers(bert, 1), table.tokens, vectors)
    assert agreement(made(student="layers"), table.tokens, vectors) > untaught


def test_the_state_of_a_word_piece_is_its_vector_whatever_stands_around_it(made, table):
    student = made(student="static")
    states, mask = student.states(tf.constant(table.tokens))
    places = np.argwhere(mask.numpy())
    piece = table.tokens[places[:, 0], places[:, 1]]
    expected = student.words.vectors.numpy()[piece]
    np.testing.assert_allclose(states.numpy()[tuple(places.T)], expected, rtol=1e-6)
    means = np.array([states[row].numpy()[mask[row]].mean(axis=0) for row in range(5)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(student(tf.constant(table.tokens[:5])), means, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_rounded_matrix_is_right_to_half_a_scale(axis):
    matrix = np.random.default_rng(2).normal(size=(20, 9)).astype(np.float32)
    matrix[:, 3] *= 1e3
    matrix[4] = 0.0
    whole, scale = rounded(matrix, axis)
    assert whole.dtype == np.int8 and scale.shape[axis] == 1
    assert (np.abs(whole * scale - matrix) <= scale / 2 + 1e-6).all()
    assert (whole[4] == 0).all()


def test_int8_keeps_the_vectors_in_a_quarter_of_the_matrices_bytes(made, teacher, table, vectors):
    small = made(weights="int8")
    assert agreement(small, table.tokens, vectors) > 0.999
    dense = [v for v in small.variables if v.dtype == tf.int8]
    assert sum(np.prod(v.shape) for v in dense) == sum(
        np.prod(v.shape)
        for v in teacher.variables
        if v.shape.rank == 2 and "position" not in v.name and "token_type" not in v.name
    )
    # What stays is much of so small an encoder.
    assert weight_bytes(small) < 0.6 * weight_bytes(teacher)


def test_the_teacher_stays_as_it_was(made, teacher, table, vectors):
    for changes in ({"weights": "int8"}, {"pruned_share": 0.5}, {"student": "layers"}):
        made(**changes)
    np.testing.assert_array_equal(encode(teacher, table.tokens), vectors)


def test_a_dense_layer_of_8_bits_multiplies_as_its_rounded_matrix_does(bert):
    encoder = TextEncoder(bert)
    dense = encoder.bert.bert.encoder.layer[0].intermediate.dense
    whole, scale = rounded(dense.kernel.numpy(), axis=0)
    inputs = np.random.default_rng(3).normal(size=(2, 5, HIDDEN)).astype(np.float32)
    expected = inputs @ (whole * scale) + dense.bias.numpy()
    np.testing.assert_allclose(Int8Dense(dense)(tf.constant(inputs)), expected, atol=1e-5)


def test_pruning_drops_the_smallest_weights_of_each_matrix():
    matrix = np.array([[0.1, -5.0], [-0.2, 3.0], [0.0, 0.3]], np.float32)
    left = np.array([[0.0, -5.0], [0.0, 3.0], [0.0, 0.3]], np.float32)
    np.testing.assert_array_equal(pruned(matrix, 0.5), left)
    np.testing.assert_array_equal(pruned(matrix, 0.1), matrix)


def test_a_pruned_encoder_has_so_many_zeros_and_reads_alike(made, table, vectors):
    small = made(pruned_share=0.3)
    for variable in small.variables:
        if variable.shape.rank == 2:
            assert (variable.numpy() == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert agreement(small, table.tokens, vectors) > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"student": "static", "weights": "int8"},
        {"student": "layers", "weights": "int8", "pruned_share": 0.3},
        {"weights": "int8"},
    ],
    ids=str,
)
def test_a_small_encoder_is_saved_and_found_again(made, bert, table, tmp_path, changes):
    small = made(**changes)
    weights = [variable.numpy() for variable in small.variables]
    again = restored(bert, options(**changes), weights)
    tokens = tf.constant(table.tokens[:7])
    np.testing.assert_array_equal(again.infer(tokens), small.infer(tokens))
    loaded = saved_and_loaded(small, tmp_path / "saved")
    np.testing.assert_allclose(loaded(tokens), small.infer(tokens), atol=1e-6)
    stored = sum(file.stat().st_size for file in (tmp_path / "saved" / "variables").iterdir())
    assert weight_bytes(small) < stored < weight_bytes(small) + 20_000


def test_lessons_are_the_texts_and_each_once_more_with_fewer_words(teacher, table, vectors):
    lessons = Lessons.of(
        table.tokens, vectors, read=lambda t: encode(teacher, t), pad_id=0, seed=2
    )  # fmt: skip
    whole, damaged = np.split(lessons.tokens, 2)
    np.testing.assert_array_equal(whole, table.tokens)
    length = (damaged != 0).sum(axis=1)
    assert (length <= (whole != 0).sum(axis=1)).all() and length.sum() < (whole != 0).sum()
    np.testing.assert_allclose(lessons.vectors[60:], encode(teacher, damaged), atol=1e-6)


def test_of_many_texts_some_are_lessons(table, vectors, monkeypatch):
    monkeypatch.setattr(teaching, "MOST", 7)
    lessons = Lessons.of(table.tokens, vectors, read=lambda t: -vectors[: len(t)], pad_id=0, seed=2)
    assert len(lessons.tokens) == len(lessons.vectors) == 14
    for tokens, vector in zip(lessons.tokens[:7], lessons.vectors[:7], strict=True):
        same = (table.tokens == tokens).all(axis=1) & (vectors == vector).all(axis=1)
        assert same.any()


def test_more_layers_than_there_are_is_an_error(bert):
    with pytest.raises(BadInput, match=r"compression\.layers is 3"):
        untaught_layers(bert, 3)
