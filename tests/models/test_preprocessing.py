import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
from transformers import BertTokenizerFast

from models.preprocessing import (
    _price_bucket,
    item_text,
    preprocess_interactions,
    word_count,
)
from tests.models.shop import OPTIONS, SIZE, item_id, transform


def texts(**columns):
    return {name: tf.constant([[value] for value in values]) for name, values in columns.items()}


def test_the_text_of_an_item_joins_what_is_there():
    made = item_text(
        texts(
            title=["Red cup", "", " Lamp ", "红茶"],
            category=["Cups", "Mugs", "", ""],
            brand=["", "", "", ""],
            description=["For tea", "", "", "好"],
        )
    )
    assert [text.decode() for text in made.numpy()] == [
        "Red cup . Cups . For tea .",
        "Mugs .",
        "Lamp .",
        "红茶 . 好 .",
    ]


def test_an_item_without_any_text_is_the_empty_string():
    empty = texts(title=[" "], category=[""], brand=[""], description=[""])
    assert item_text(empty).numpy().tolist() == [b""]


def test_words_are_counted_in_any_script():
    titles = ["", " - ", "Kids' tea-set No. 5", "红茶", "чай и кофе", "कपड़ा"]
    descriptions = ["", "!", "", "好 mug", "", ""]
    counts = word_count(tf.constant(titles), tf.constant(descriptions))
    assert counts.numpy().tolist() == [0, 0, 5, 4, 3, 1]


def text_of(item):
    parts = [item[name][0].decode() for name in ("title", "category", "brand", "description")]
    return " ".join(f"{part} ." for part in parts if part)


@pytest.fixture(scope="module")
def columns(catalogue):
    """Transformed catalogue by item id, as it lies on disk."""
    graph, files = catalogue
    records = (
        tf.data.TFRecordDataset(files, compression_type="GZIP").batch(1000).get_single_element()
    )
    parsed = tf.io.parse_example(records, graph.transformed_feature_spec())
    order = np.argsort(parsed["item_id"])
    ids, weights = parsed.pop("term_ids"), parsed.pop("term_weights")
    matrix = sp.csr_matrix((weights.values, ids.values, ids.row_splits))
    return {name: column.numpy()[order] for name, column in parsed.items()} | {
        "terms": matrix[order]
    }


def test_every_item_is_there_once_with_its_interactions(columns, shop):
    assert columns["item_id"].tolist() == [item_id(row) for row in range(SIZE)]
    assert columns["interactions"].tolist() == [item["interactions"][0] for item in shop.items]


def test_tokens_are_those_of_the_encoders_own_tokenizer(columns, shop, bert):
    reference = BertTokenizerFast(vocab_file=str(bert.vocabulary_file), do_lower_case=True)
    expected = reference(
        [text_of(item) for item in shop.items],
        padding="max_length",
        truncation=True,
        max_length=OPTIONS["max_tokens"],
    )["input_ids"]
    assert columns["tokens"].tolist() == expected


def tf_idf(bags):
    """A dense matrix of unit rows; `tft.tfidf` writes the same formula."""
    terms = sorted({term for bag in bags for term in bag}, key=str)
    counts = np.array([[bag.count(term) for term in terms] for bag in bags], float)
    idf = np.log((len(bags) + 1) / ((counts > 0).sum(axis=0) + 1)) + 1
    weights = counts / counts.sum(axis=1, keepdims=True) * idf
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def test_terms_are_the_tf_idf_of_pieces_and_pairs_of_the_whole_text_and_of_the_name(
    columns, shop, bert
):
    reference = BertTokenizerFast(vocab_file=str(bert.vocabulary_file), do_lower_case=True)
    expected = np.zeros((SIZE, SIZE))
    for left_out in ({}, {"description": [b""]}):
        texts = [text_of(item | left_out) for item in shop.items]
        pieces = reference(texts, add_special_tokens=False)["input_ids"]
        half = tf_idf([[*text, *itertools.pairwise(text)] for text in pieces])
        expected += half @ half.T / 2
    found = (columns["terms"] @ columns["terms"].T).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_lexical_vector_is_a_sketch_of_the_terms(columns):
    """Its cosines are those of the terms, but for the error of so few columns."""
    vectors, terms = columns["lexical"], columns["terms"]
    assert vectors.shape == (SIZE, OPTIONS["lexical_size"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    error = vectors @ vectors.T - (terms @ terms.T).toarray()
    assert np.sqrt((error**2).mean()) < 1.5 / OPTIONS["lexical_size"] ** 0.5


def test_price_buckets_are_quantiles_and_0_is_unknown(columns, shop):
    buckets = columns["price_bucket"]
    price = np.array([item["price"][0] if item["price"] else np.nan for item in shop.items])
    assert (buckets[np.isnan(price)] == 0).all()
    known = ~np.isnan(price)
    assert set(buckets[known]) == set(range(1, OPTIONS["price_buckets"] + 1))
    order = np.argsort(price[known])
    assert (np.diff(buckets[known][order]) >= 0).all()
    sizes = np.bincount(buckets[known])[1:]
    assert sizes.max() - sizes.min() <= 3


def test_an_unknown_price_is_bucket_0_wherever_it_stands_in_a_batch(catalogue):
    """A maximum over NaN depends on how the batch is split among threads."""
    layer = catalogue[0].transform_features_layer()
    random = np.random.default_rng(0)
    for size in (1, 2, 61, 64, 257):
        known = random.random(size) < 0.7
        indices = np.stack([np.flatnonzero(known), np.zeros(known.sum(), np.int64)], axis=1)
        given = {name: tf.fill([size, 1], "cup") for name in ("title", "category", "brand")}
        bucket = layer(
            given
            | {
                "description": tf.fill([size, 1], ""),
                "price": tf.SparseTensor(indices, np.full(known.sum(), 5.0, np.float32), [size, 1]),
            }
        )["price_bucket"].numpy()
        np.testing.assert_array_equal(bucket > 0, known)


def test_the_vocabulary_of_items_holds_every_id_once(catalogue):
    ids = catalogue[0].vocabulary_by_name("item_id")
    assert sorted(ids) == [item_id(row) for row in range(SIZE)]


def test_a_catalogue_without_any_price_has_only_unknown_prices(shop, tmp_path):
    graph, files = transform(
        [item | {"price": []} for item in shop.items[:20]],
        lambda inputs: {"price_bucket": _price_bucket(inputs["price"], 4)},
        schema="catalogue",
        folder=tmp_path,
    )
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(99).get_single_element()
    parsed = tf.io.parse_example(records, graph.transformed_feature_spec())
    assert parsed["price_bucket"].numpy().tolist() == [0] * 20


def test_popularity_counts_the_interactions_of_each_item(tmp_path):
    counts = {b"007": 5, b"a b": 2, b"\xe7\xba\xa2": 1}
    rows = [
        {
            "user_id": [b"u"],
            "item_id": [item],
            "rating": [1.0],
            "timestamp": [0],
            "history": [],
            "history_rating": [],
            "profile": [b""],
            "item_state": [b"seen"],
            "propensity": [],
            "span": [0],
            "span_age": [b"latest"],
            "user_group": [b"light"],
            "item_group": [b"niche"],
        }
        for item, count in counts.items()
        for _ in range(count)
    ]
    graph, _ = transform(
        rows,
        lambda inputs: preprocess_interactions(inputs, {}),
        schema="interactions",
        folder=tmp_path,
    )
    file = graph.vocabulary_file_by_name("popularity")
    lines = [line.split(b" ", 1) for line in tf.io.gfile.GFile(file, "rb").read().splitlines()]
    assert {item: int(count) for count, item in lines} == counts
