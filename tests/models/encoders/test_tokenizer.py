import csv
import functools
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from models.encoders.folder import PACKAGED, open_encoder
from models.encoders.tokenizer import WordPieceTokenizer
from tests.tiny_bert import write_tiny_bert

SAMPLE = Path(__file__).parents[3] / "data" / "online_retail" / "items.csv.gz"
NASTY = [
    "",
    "   \t\n ",
    "café naïve ÉCLAIR Ångström Crème Brûlée",
    "e\u0301cole a\u0300 \u0301alone",  # combining accents
    "红茶杯 盒子tea杯 𠀀𠀁",
    "東京のカップ が ガ ﾊﾟ ひらがな",
    "한국어 머그컵 각",
    "👩\u200d💻 ❤️ 🎁gift",
    "a\x00b\x07c\u200bd\u200fe\ufefff",
    "line\u2028break\u2029x\x85y\x0bz\x0cq",
    "x" * 100,
    "x" * 101,
    "y" * 300,
    "ж" * 60,  # 120 bytes
    "ж" * 101,
    "แก้วกาแฟเซรามิกสีขาวสำหรับชาและกาแฟร้อน",  # 39 characters, 117 bytes, no blank
    "ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ ςσΣ",
    "soft\u00adhyphen zero\u2060width",
    "ＦＵＬＬ　ｗｉｄｔｈ！１２３",
    "[SEP] tea [CLS] [MASK] [PAD] [UNK] [unused1]",
    "שלום עולם",
    "كوب شاي أحمر",
    "RTL \u202eeman\u202c \u061cx",
    "½ cup ™ ® ﬁne ß ẞ İstanbul ıI",
    "\ufffd\ue000private",
    "£5.99 $3 €2 ~x~ a`b a^b a|b <b>&amp;</b>",
    "don't—stop… “quoted” 10×10 #1 @home_sweet",
    "nbsp\u00a0em\u2003thin\u2009end",
    "हिन्दी चाय का प्याला",
    "Ⅷ ⓐ ǅ ŉ",
]


@functools.cache
def reference(folder):
    return BertTokenizerFast(
        vocab_file=str(folder.vocabulary_file),
        do_lower_case=folder.lower_case,
        strip_accents=folder.strip_accents,
        tokenize_chinese_chars=True,
    )


def expected(folder, strings):
    return reference(folder)(strings, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]


def found(folder, strings):
    return WordPieceTokenizer(folder).pieces(tf.constant(strings)).to_list()


def folder_like(packaged, path, **settings):
    """The packaged encoder with other tokenizer settings."""
    path.mkdir()
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        (path / name).symlink_to(packaged.path / name)
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return open_encoder(str(path))


@pytest.fixture(scope="module")
def packaged():
    return open_encoder(PACKAGED)


@pytest.fixture(scope="module", params=["uncased", "cased", "cased without accents", "chinese"])
def folder(request, packaged, tmp_path_factory):
    """Folders whose tokenizers differ in casing, accents and vocabulary."""
    path = tmp_path_factory.mktemp("tokenizers") / "folder"
    if request.param == "uncased":
        return packaged
    if request.param == "cased":
        return folder_like(packaged, path, do_lower_case=False)
    if request.param == "cased without accents":
        return folder_like(packaged, path, do_lower_case=False, strip_accents=True)
    # Single characters, and no word pieces longer than a few words.
    return open_encoder(str(write_tiny_bert(path, lower_case=False)))


def test_every_title_of_the_sample_is_tokenized_as_hugging_face_does(folder):
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        titles = [row["title"] for row in csv.DictReader(file)]
    assert len(titles) == 3659
    assert found(folder, titles) == expected(folder, titles)


@pytest.mark.parametrize("place", range(len(NASTY)), ids=[ascii(text)[:20] for text in NASTY])
def test_a_nasty_string_is_tokenized_as_hugging_face_does(folder, place):
    assert found(folder, NASTY[place : place + 1]) == expected(folder, NASTY[place : place + 1])


def test_chinese_is_read_character_by_character(tmp_path):
    folder = open_encoder(str(write_tiny_bert(tmp_path / "chinese", lower_case=False)))
    pieces = folder.vocabulary_file.read_text(encoding="utf-8").split("\n")
    [ids] = found(folder, ["红茶杯tea上国"])
    assert [pieces[i] for i in ids] == ["红", "茶", "杯", "tea", "上", "国"]


# Letters and marks of scripts whose classes did not change between Unicode versions.
_STABLE = st.characters(
    blacklist_categories=("Cs", "Cn", "Co"), max_codepoint=0x04FF
) | st.sampled_from("红茶杯、。の🎁❤—“”…\u200d\u3000")


@settings(max_examples=40)
@given(st.lists(st.text(_STABLE, max_size=30), min_size=1, max_size=20))
def test_any_text_is_tokenized_as_hugging_face_does(packaged_tokenizer, texts):
    tokenizer, folder = packaged_tokenizer
    assert tokenizer.pieces(tf.constant(texts)).to_list() == expected(folder, texts)


@pytest.fixture(scope="module")
def packaged_tokenizer(packaged):
    return WordPieceTokenizer(packaged), packaged


def test_a_title_cannot_inject_a_special_token(packaged):
    special = {packaged.cls_id, packaged.sep_id, packaged.pad_id}
    [ids] = found(packaged, ["[SEP] [CLS] [PAD] tea[SEP]"])
    assert not special & set(ids)


@pytest.mark.parametrize("length", [8, 24])
def test_encoder_input_is_cut_framed_and_padded_as_hugging_face_does(packaged, length):
    texts = ["red tea cup", "", "a very long title " * 9]
    tokenizer = WordPieceTokenizer(packaged)
    made = tokenizer.encoder_input(tokenizer.pieces(tf.constant(texts)), length)
    wanted = reference(packaged)(
        texts, padding="max_length", truncation=True, max_length=length, split_special_tokens=True
    )["input_ids"]
    assert made.shape[1] == length
    assert made.numpy().tolist() == wanted


def test_a_saved_tokenizer_carries_its_vocabulary(packaged, tmp_path):
    module = tf.Module()
    module.tokenizer = WordPieceTokenizer(packaged)
    module.run = tf.function(
        lambda texts: module.tokenizer.pieces(texts).to_tensor(),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "assets" / "vocab.txt").exists()
    again = tf.saved_model.load(str(tmp_path / "saved"))
    texts = tf.constant(["red tea cup", "[SEP] 红茶"])
    np.testing.assert_array_equal(again.run(texts), module.run(texts))
