import itertools

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertTokenizerFast

from models.preprocessing import (
    _price_bucket,
    item_text,
    preprocess_interactions,
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
    parsed = {name: column.numpy() for name, column in parsed.items()}
    order = np.argsort(parsed["item_id"])
    return {name: column[order] for name, column in parsed.items()}


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


def test_lexical_vectors_have_unit_length_and_shared_words_bring_items_together(columns, shop):
    vectors = columns["lexical"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    cosine = vectors @ vectors.T
    theme = np.arange(SIZE) // 10
    same = theme[:, None] == theme[None, :]
    np.fill_diagonal(same, False)
    assert cosine[same].mean() > 5 * abs(cosine[theme[:, None] != theme[None, :]].mean())


@pytest.mark.parametrize("half", ["whole text", "name"])
def test_lexical_vectors_are_the_leading_directions_of_tf_idf(columns, shop, bert, half):
    """Against a dense TF-IDF matrix: its LSA spans nearly what the sketched one spans."""
    reference = BertTokenizerFast(vocab_file=str(bert.vocabulary_file), do_lower_case=True)
    bags = []
    for item in shop.items:
        read = item if half == "whole text" else item | {"description": [b""]}
        pieces = reference(text_of(read), add_special_tokens=False)["input_ids"]
        bags.append([*pieces, *itertools.pairwise(pieces)])
    terms = sorted({term for bag in bags for term in bag}, key=str)
    counts = np.array([[bag.count(term) for term in terms] for bag in bags], float)
    idf = np.log((SIZE + 1) / ((counts > 0).sum(axis=0) + 1)) + 1
    tfidf = counts / counts.sum(axis=1, keepdims=True) * idf
    tfidf /= np.linalg.norm(tfidf, axis=1, keepdims=True)
    left, _, _ = np.linalg.svd(tfidf - tfidf.mean(axis=0), full_matrices=False)
    width = OPTIONS["lexical_size"] // 2
    vectors = (
        columns["lexical"][:, :width] if half == "whole text" else columns["lexical"][:, width:]
    )
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 0.5**0.5, atol=1e-5)
    found = vectors - vectors.mean(axis=0)
    basis, _ = np.linalg.qr(found)
    leading = left[:, :5]
    explained = np.linalg.norm(basis.T @ leading, axis=0)
    assert explained.min() > 0.9


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
