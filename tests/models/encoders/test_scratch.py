"""Encoders of a shop's own: their vocabulary, and what training from nothing teaches."""

import numpy as np
import pytest
import tensorflow as tf

from models.encoders.encoder import TextEncoder
from models.encoders.folder import open_encoder
from models.encoders.scratch.contrast import contrast
from models.encoders.scratch.encoder import train_encoder
from models.encoders.scratch.vocabulary import SPECIAL, learn_pieces
from models.encoders.tokenizer import WordPieceTokenizer
from models.options import ScratchOptions
from tests.models.encoders.test_tokenizer import NASTY, expected, found

COLOURS = ("红色", "蓝色", "白色", "金色", "绿色", "黑色")
THINGS = ("陶瓷茶杯", "木质相框", "棉布手袋", "玻璃花瓶")
RUSSIAN = ("синий чайник", "красный чайник", "мой йогурт", "красная чашка")
TEXTS = sorted(
    [colour + thing for colour in COLOURS for thing in THINGS]
    + [*RUSSIAN, "ガラスの花瓶", "كوب شاي أحمر", "set of 2 mugs"]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small encoder, hardly trained."""
    path = tmp_path_factory.mktemp("scratch") / "encoder"
    options = ScratchOptions(layers=1, hidden_size=64, vocabulary_size=200, steps=2)
    train_encoder(TEXTS, path, options=options, max_tokens=16, seed=3)
    return open_encoder(str(path))


def test_the_vocabulary_has_every_character_and_then_frequent_words():
    pieces = learn_pieces(TEXTS, 500)
    assert tuple(pieces[:5]) == SPECIAL
    assert len(set(pieces)) == len(pieces)
    assert set("".join(COLOURS + THINGS)) <= set(pieces)
    assert {"ガ", "й", "##й"} <= set(pieces)  # with their accents
    words = [piece for piece in pieces[5:] if len(piece.removeprefix("##")) > 1]
    assert words == ["чайник"] == pieces[-1:]
    assert pieces == learn_pieces(reversed(TEXTS), 500)


def test_a_small_vocabulary_keeps_the_frequent_characters():
    pieces = learn_pieces(TEXTS, 20)
    assert len(pieces) == 20
    assert pieces[5] == "色" and "ガ" not in pieces


def test_its_texts_are_read_without_unknown_pieces_and_chinese_by_characters(folder):
    ids = found(folder, TEXTS)
    assert not any(folder.unk_id in row for row in ids)
    pieces = folder.vocabulary_file.read_text(encoding="utf-8").split("\n")
    place = TEXTS.index("红色陶瓷茶杯")
    assert [pieces[i] for i in ids[place]] == list("红色陶瓷茶杯")


def test_its_tokenizer_is_hugging_face_s_with_the_same_settings(folder):
    assert (folder.lower_case, folder.strip_accents) == (True, False)
    assert found(folder, TEXTS) == expected(folder, TEXTS)
    assert found(folder, NASTY) == expected(folder, NASTY)


def test_contrast_spreads_texts_and_keeps_damaged_copies_near(folder):
    tokenizer = WordPieceTokenizer(folder)
    tokens = tokenizer.encoder_input(tokenizer.pieces(tf.constant(TEXTS)), 16).numpy()
    tokens = tokens.astype(np.int32)
    encoder = TextEncoder(folder, trainable_layers=-1)
    assert (encoder.hidden_size, len(encoder.bert.bert.encoder.layer)) == (64, 1)
    # The same texts without their first characters.
    damaged = np.concatenate([tokens[:, :1], tokens[:, 2:], tokens[:, :1] * 0], axis=1)

    def margin():
        cosine = encoder(tokens).numpy() @ encoder(damaged).numpy().T
        own = np.diag(cosine)
        others = (cosine.sum(axis=1) - own) / (len(own) - 1)
        return (own - others).mean()

    before = margin()
    contrast(encoder, tokens, steps=25, batch=16, learning_rate=1e-3, seed=1)
    assert margin() > before + 0.1
