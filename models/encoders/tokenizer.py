"""BERT's tokenizer as stock TensorFlow ops, so that a served model takes text and not token ids.

`tensorflow_text.BertTokenizer(lower_case=True)` case-folds with NFKC, which BERT's own tokenizer
does not ("½" becomes "1⁄2", "™" becomes "tm"). So the text is normalised here the way BERT does it
and the library only splits it. Unlike Hugging Face's, it never takes "[SEP]" in a title for the
special token: a catalogue can't inject one.
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf
import tensorflow_text as text

from models.encoders import lexical
from models.encoders.folder import EncoderFolder
from models.ragged import joined
from models.tracing import traced_for_all

# Punctuation and CJK characters are words of their own, as in BERT's BasicTokenizer.
_SINGLE: Final = (
    r"[!-/:-@\[-`{-~\p{P}\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}"
    r"\x{2A700}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
# BERT gives up on longer words, in characters; the library's own limit counts bytes, and so
# would give up on half as much Cyrillic and a third as much Thai.
_LONGEST_WORD: Final = 100
_MAX_BYTES_PER_CHARACTER: Final = 4
_STRINGS: Final = tf.TensorSpec([None], tf.string)
_PIECES: Final = tf.RaggedTensorSpec([None, None], tf.int64, ragged_rank=1)


class WordPieceTokenizer(tf.Module):
    """Word pieces of a text, with the vocabulary and the casing of an encoder folder.

    The vocabulary file becomes an asset of every SavedModel that holds the tokenizer.
    """

    def __init__(self, folder: EncoderFolder) -> None:
        super().__init__(name="word_piece_tokenizer")
        self._folder = folder
        vocabulary = tf.lookup.TextFileInitializer(
            str(folder.vocabulary_file),
            key_dtype=tf.string, key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64, value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        self._pieces = text.WordpieceTokenizer(
            tf.lookup.StaticVocabularyTable(vocabulary, num_oov_buckets=1),
            token_out_type=tf.int64,
            max_bytes_per_word=_LONGEST_WORD * _MAX_BYTES_PER_CHARACTER,
        )

    def pieces(self, strings: tf.Tensor) -> tf.RaggedTensor:
        """Word pieces without special tokens: string [B] to ragged int64 [B, (pieces)]."""
        return joined(self.words(strings)[1])

    def words(self, strings: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Words as they are read, string [B, (words)], and their pieces [B, (words), (pieces)]."""
        folder = self._folder
        words, readable = traced_for_all(
            _split, _STRINGS, lower_case=folder.lower_case, strip_accents=folder.strip_accents
        )(strings)
        return words, self._pieces.tokenize(readable)

    def units(self, words: tf.RaggedTensor, pieces: tf.RaggedTensor) -> tf.RaggedTensor:
        """What the lexical path reads of `words`: ragged int64 [B, (words), (units)]."""
        folder = self._folder
        return lexical.units(
            words, pieces, unknown=folder.unk_id, vocabulary_size=folder.vocabulary_size
        )

    @property
    def vocabulary_size(self) -> int:
        """How many word pieces there are."""
        return self._folder.vocabulary_size

    def encoder_input(self, pieces: tf.RaggedTensor, max_tokens: int) -> tf.Tensor:
        """`[CLS] pieces [SEP]`, cut and padded to int64 [B, max_tokens]."""
        folder = self._folder
        framed: tf.Tensor = traced_for_all(
            _framed, _PIECES,
            cls=folder.cls_id, sep=folder.sep_id, pad=folder.pad_id, max_tokens=max_tokens,
        )(pieces)  # fmt: skip
        return framed


def _split(
    strings: tf.Tensor, *, lower_case: bool, strip_accents: bool
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Words of texts, and the same with [UNK] for the overlong: string [B] to [B, (words)]."""
    normal = _normalized(strings, lower_case=lower_case, strip_accents=strip_accents)
    words = text.regex_split(normal, rf"\s+|{_SINGLE}", _SINGLE)
    return words, tf.ragged.map_flat_values(_without_overlong, words)


def _normalized(strings: tf.Tensor, *, lower_case: bool, strip_accents: bool) -> tf.Tensor:
    """The steps and their order are those of BERT's BasicTokenizer: UTF-8 [B] to string [B]."""
    strings = tf.strings.regex_replace(strings, r"[\t\n\r\p{Z}]", " ")
    strings = tf.strings.regex_replace(strings, r"[\p{C}\x{FFFD}]", "")
    if strip_accents:
        strings = text.normalize_utf8(strings, "NFD")
        strings = tf.strings.regex_replace(strings, r"\p{Mn}", "")
    if lower_case:
        # ICU lowers a final capital sigma by context, BERT's tokenizer letter by letter.
        strings = tf.strings.regex_replace(strings, "Σ", "σ")
        strings = tf.strings.lower(strings, encoding="utf-8")
    return strings


def _framed(pieces: tf.RaggedTensor, *, cls: int, sep: int, pad: int, max_tokens: int) -> tf.Tensor:
    pieces = pieces[:, : max_tokens - 2]
    rows = tf.ones([pieces.nrows(), 1], tf.int64)
    framed = tf.concat([cls * rows, pieces, sep * rows], axis=1)
    padded = framed.to_tensor(pad, shape=[None, max_tokens])
    return tf.ensure_shape(padded, [None, max_tokens])


def _without_overlong(words: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.strings.length(words, "UTF8_CHAR") > _LONGEST_WORD, "[UNK]", words)
