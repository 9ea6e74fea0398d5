"""What Transform does: text becomes tokens once per item, ids get their vocabularies and counts.

Both functions run inside the graph that is exported with the model, so a served product is
treated exactly as a trained one. They are given to TFX by dotted path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.encoders import lexical
from models.encoders.folder import open_encoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.inheritance.kernel import NO_BRAND
from models.ragged import joined
from models.tracing import traced_for_all

Tensors = dict[str, Any]
_CHEAPEST: Final = 1e-3
_BRAND_CODES: Final = 1 << 60
_WORDS: Final = tf.RaggedTensorSpec([None, None], tf.string, ragged_rank=1)
_PIECES: Final = tf.RaggedTensorSpec([None, None, None], tf.int64, ragged_rank=2)
_IDS: Final = tf.RaggedTensorSpec([None, None], tf.int64, ragged_rank=1)
_WEIGHTS: Final = tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)
# Ids and weights of one text.
_WEIGHTED: Final = (
    tf.SparseTensorSpec([None, None], tf.int64),
    tf.SparseTensorSpec([None, None], tf.float32),
)


def item_text(inputs: Tensors, names: Sequence[str] = features.ITEM_TEXT) -> tf.Tensor:
    """`title. category. brand. description.` without the empty ones: string [B]."""
    parts = [tf.strings.strip(tf.reshape(inputs[name], [-1])) for name in names]
    marked = [tf.where(tf.equal(part, ""), "", part + " . ") for part in parts]
    return tf.strings.strip(tf.strings.join(marked))


def item_name(inputs: Tensors) -> tf.Tensor:
    """Title, category and brand: string [B]. Taken for a title alone, it is read as the three."""
    return tf.strings.regex_replace(item_text(inputs, features.ITEM_NAME), r" \.$", "")


def word_count(title: tf.Tensor, description: tf.Tensor) -> tf.Tensor:
    """Words of both: string [B] twice to int64 [B]. Han and kana count by the character."""
    text = tf.strings.join([title, description], " ")
    text = tf.strings.regex_replace(text, r"[\p{Han}\p{Hiragana}\p{Katakana}]", " x ")
    # An apostrophe parts no word.
    text = tf.strings.regex_replace(text, r"['’]", "")
    words = tf.strings.split(tf.strings.regex_replace(text, r"[^\pL\pM\pN]+", " "))
    return tf.cast(words.row_lengths(), tf.int64)


def preprocess_catalogue(inputs: Tensors, custom_config: dict[str, Any]) -> Tensors:
    """Tokens, weighted terms, price bucket and row number of every item.

    Args:
        inputs: the catalogue's features; texts string [B, 1], price sparse float.
        custom_config: `encoder` (name), `max_tokens`, `lexical_tokens`, `lexical_size`,
            `price_buckets`.

    Returns:
        item_id, name, category and brand string [B], price float [B], available and interactions
        int64 [B], tokens int64 [B, max_tokens], term_ids ragged int64 and term_weights ragged
        float [B, (terms)] of unit length, one half from the whole text and one from the name,
        lexical float [B, lexical_size], a sketch of the terms, price_bucket int64 [B],
        price_level float [B], brand_code int64 [B], words int64 [B] of title and description.
    """
    folder = open_encoder(custom_config["encoder"])
    tokenizer = tft.make_and_track_object(
        lambda: WordPieceTokenizer(folder), name="word_piece_tokenizer"
    )
    item_id = tf.reshape(inputs[features.ITEM_ID], [-1])
    tft.vocabulary(item_id, vocab_filename=features.ITEM_ID)
    texts = [item_text(inputs), item_text(inputs, features.ITEM_NAME)]
    # Together: the tokenizer's graph is large, and each signature that reads text has a copy.
    words, pieces = tokenizer.words(tf.concat(texts, axis=0))
    terms = traced_for_all(
        _terms, _WORDS, _PIECES,
        unknown=folder.unk_id, vocabulary_size=folder.vocabulary_size,
        units=custom_config["lexical_tokens"],
    )(words, pieces)  # fmt: skip
    term_ids, term_weights = _weighted_terms(
        _parted(terms, rows=tf.size(item_id, out_type=tf.int64), count=len(texts)),
        folder.vocabulary_size,
    )
    sketch = traced_for_all(lexical.sketch, _IDS, _WEIGHTS, size=custom_config["lexical_size"])
    return {
        features.ITEM_ID: item_id,
        features.AVAILABLE: tf.reshape(inputs[features.AVAILABLE], [-1]),
        features.INTERACTIONS: tf.reshape(inputs[features.INTERACTIONS], [-1]),
        features.CATEGORY: tf.reshape(inputs[features.CATEGORY], [-1]),
        features.BRAND: tf.reshape(inputs[features.BRAND], [-1]),
        features.PRICE: _price(inputs[features.PRICE]),
        features.NAME: item_name(inputs),
        features.TOKENS: tokenizer.encoder_input(
            joined(pieces)[: tf.size(item_id)], custom_config["max_tokens"]
        ),
        features.TERM_IDS: term_ids,
        features.TERM_WEIGHTS: term_weights,
        features.LEXICAL: sketch(term_ids, term_weights),
        features.PRICE_BUCKET: _price_bucket(
            inputs[features.PRICE], custom_config["price_buckets"]
        ),
        features.PRICE_LEVEL: _price_level(inputs[features.PRICE]),
        features.BRAND_CODE: _brand_code(inputs[features.BRAND]),
        features.WORDS: word_count(*(tf.reshape(inputs[name], [-1]) for name in features.OWN)),
    }


def preprocess_interactions(inputs: Tensors, custom_config: dict[str, Any]) -> Tensors:
    """Popularity of the items by a full pass over the train split.

    Items stay ids here and become rows of the catalogue's vocabulary when they are read, because
    this graph never sees the catalogue.
    """
    del custom_config
    item_id = tf.reshape(inputs[features.ITEM_ID], [-1])
    tft.vocabulary(item_id, vocab_filename=features.POPULARITY, store_frequency=True)
    return {features.ITEM_ID: item_id}


def _terms(
    words: tf.RaggedTensor, pieces: tf.RaggedTensor, *, unknown: int, vocabulary_size: int,
    units: int,
) -> tf.SparseTensor:  # fmt: skip
    """Terms of the first units of texts: sparse int64 [B, (terms)]."""
    read = lexical.units(words, pieces, unknown=unknown, vocabulary_size=vocabulary_size)
    first = joined(read)[:, :units]
    return lexical.terms(first, vocabulary_size).to_sparse()


def _parted(terms: tf.SparseTensor, *, rows: tf.Tensor, count: int) -> list[tf.SparseTensor]:
    """Sparse [count * rows, (terms)], part by part. `tf.sparse.split` does not part 0 rows."""
    size = tf.stack([rows, terms.dense_shape[1]])
    return [tf.sparse.slice(terms, [part * rows, 0], size) for part in range(count)]


def _weighted_terms(
    texts: Sequence[tf.SparseTensor], vocabulary_size: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """TF-IDF of the terms of several texts of an item, as one vector: ids, weights [B, (terms)].

    In a long description the words of the name get lost, and those tell products apart.
    """
    width = vocabulary_size + lexical.BIGRAM_BUCKETS
    vector: tuple[tf.RaggedTensor, tf.RaggedTensor] = traced_for_all(
        lexical.side_by_side, (_WEIGHTED,) * len(texts), width=width
    )(tuple(tft.tfidf(text, vocab_size=width) for text in texts))
    return vector


def _price_bucket(price: tf.SparseTensor, buckets: int) -> tf.Tensor:
    """1 .. buckets by quantile; 0 where the price is unknown."""
    value = _dense(price)
    boundaries = tft.quantiles(price.values, num_buckets=buckets, epsilon=0.01)
    bucket = tft.apply_buckets(value, boundaries) + 1
    return tf.where(value < 0, tf.zeros_like(bucket), bucket)


def _dense(price: tf.SparseTensor) -> tf.Tensor:
    """Prices float32 [B], -1 where unknown."""
    # A batch without any price is 0 wide, and the maximum of nothing is minus infinity.
    return tf.maximum(tf.reduce_max(tf.sparse.to_dense(price, default_value=-1.0), axis=1), -1.0)


def _price(price: tf.SparseTensor) -> tf.Tensor:
    """Prices float32 [B], NaN where unknown."""
    value = _dense(price)
    return tf.where(value < 0, tf.fill(tf.shape(value), float("nan")), value)


def _price_level(price: tf.SparseTensor) -> tf.Tensor:
    """The logarithm with mean 0 and deviation 1 over the catalogue; 0 where it is unknown."""
    logarithm = tf.math.log(tf.maximum(price.values, _CHEAPEST))
    level = tf.SparseTensor(price.indices, tft.scale_to_z_score(logarithm), price.dense_shape)
    # A batch without any price is 0 wide.
    return tf.reduce_sum(tf.sparse.to_dense(level), axis=1)


def _brand_code(brand: tf.Tensor) -> tf.Tensor:
    """A hash of the brand in lower case; two brands share one as good as never."""
    name = tf.strings.lower(tf.strings.strip(tf.reshape(brand, [-1])), encoding="utf-8")
    return tf.where(name == "", tf.constant(NO_BRAND, tf.int64), tf.strings.to_hash_bucket_fast(
        name, _BRAND_CODES
    ))  # fmt: skip
