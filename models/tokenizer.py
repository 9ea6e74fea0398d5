"""BERT's tokenizer as stock TensorFlow ops, so that a served model takes text and not token ids.

`tensorflow_text.BertTokenizer(lower_case=True)` case-folds with NFKC, which BERT's own tokenizer
does not ("½" becomes "1⁄2", "™" becomes "tm"). So the text is normalised here the way BERT does it
and the library's tokenizer only splits it. Unlike Hugging Face's, it never takes "[SEP]" in a
title for the special token: a catalogue can't inject one.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_text as text

from models.encoder_folder import EncoderFolder


class WordPieceTokenizer(tf.Module):
    """Word pieces of a text, with the vocabulary and the casing of an encoder folder.

    The vocabulary file becomes an asset of every SavedModel that holds the tokenizer.
    """

    def __init__(self, folder: EncoderFolder) -> None:
        super().__init__(name="word_piece_tokenizer")
        self._lower_case = folder.lower_case
        self._strip_accents = folder.strip_accents
        self._folder = folder
        self._pieces = text.BertTokenizer(
            str(folder.vocabulary_file), lower_case=False, token_out_type=tf.int64
        )

    def normalize(self, strings: tf.Tensor) -> tf.Tensor:
        """Clean, and where the folder asks for it lower-case and strip accents.

        Args:
            strings: string [B], UTF-8.

        Returns:
            string [B]; the steps and their order are those of BERT's BasicTokenizer.
        """
        strings = tf.strings.regex_replace(strings, r"[\t\n\r\p{Z}]", " ")
        strings = tf.strings.regex_replace(strings, r"[\p{C}\x{FFFD}]", "")
        if self._strip_accents:
            strings = text.normalize_utf8(strings, "NFD")
            strings = tf.strings.regex_replace(strings, r"\p{Mn}", "")
        if self._lower_case:
            # ICU lowers a final capital sigma by context, BERT's tokenizer letter by letter.
            strings = tf.strings.regex_replace(strings, "Σ", "σ")
            strings = tf.strings.lower(strings, encoding="utf-8")
        return strings

    def pieces(self, strings: tf.Tensor) -> tf.RaggedTensor:
        """Word pieces without special tokens: string [B] to ragged int64 [B, (pieces)]."""
        return self._pieces.tokenize(self.normalize(strings)).merge_dims(-2, -1)

    def encoder_input(self, pieces: tf.RaggedTensor, max_tokens: int) -> tf.Tensor:
        """`[CLS] pieces [SEP]`, cut and padded to int64 [B, max_tokens]."""
        pieces = pieces[:, : max_tokens - 2]
        rows = tf.ones([pieces.nrows(), 1], tf.int64)
        framed = tf.concat([self._folder.cls_id * rows, pieces, self._folder.sep_id * rows], axis=1)
        padded = framed.to_tensor(self._folder.pad_id, shape=[None, max_tokens])
        return tf.ensure_shape(padded, [None, max_tokens])
