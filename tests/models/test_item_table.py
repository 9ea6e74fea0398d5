import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from models.errors import DebutError
from models.item_table import check_counts, read_item_table, read_popularity
from models.preprocessing import preprocess_catalogue
from tests.models.conftest import interactions_of
from tests.models.shop import OPTIONS, SIZE, item_id, transform


def test_a_row_of_the_table_is_the_same_item_in_every_column(table, catalogue, shop):
    graph, files = catalogue
    assert table.ids.tolist() == graph.vocabulary_by_name("item_id")
    assert len(table) == SIZE
    spec = graph.transformed_feature_spec()
    on_disk: dict[bytes, dict[str, npt.NDArray[np.generic]]] = {}
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        parsed = tf.io.parse_single_example(record, spec)
        on_disk[parsed["item_id"].numpy()] = {name: v.numpy() for name, v in parsed.items()}
    for row, item in enumerate(table.ids):
        expected = on_disk[item]
        np.testing.assert_array_equal(table.tokens[row], expected["tokens"])
        np.testing.assert_array_equal(table.lexical[row], expected["lexical"])
        np.testing.assert_array_equal(table.terms[row].indices, expected["term_ids"])
        np.testing.assert_array_equal(table.terms[row].data, expected["term_weights"])
        assert table.price_bucket[row] == expected["price_bucket"]
        assert table.interactions[row] == expected["interactions"]
        assert table.available[row] == expected["available"]
    assert table.tokens.dtype == table.price_bucket.dtype == np.int32


def test_new_is_without_interactions_and_cold_is_without_those_of_training(table, shop):
    for row, item in enumerate(table.ids):
        number = int(item.removeprefix(b"item-"))
        assert table.is_new[row] == shop.is_new[number]
        assert table.is_cold[row] == shop.is_cold[number]
        assert table.popularity[row] == (shop.item == number).sum()
    assert (table.is_new <= table.is_cold).all()


def test_the_table_does_not_depend_on_the_order_of_files(catalogue, table):
    graph, files = catalogue
    again = read_item_table(files[::-1], graph, {item_id(0): 3})
    np.testing.assert_array_equal(again.tokens, table.tokens)
    assert again.popularity.sum() == 3
    assert again.ids[again.popularity.argmax()] == item_id(0)


def test_a_catalogue_without_a_word_has_items_without_terms(shop, bert, tmp_path):
    blank = {name: [b""] for name in ("title", "category", "brand", "description")}
    config = OPTIONS | {"encoder": str(bert.path)}
    graph, files = transform(
        [item | blank for item in shop.items],
        lambda inputs: preprocess_catalogue(inputs, config),
        schema="catalogue",
        folder=tmp_path,
    )
    terms = read_item_table(files, graph, {}).terms
    assert terms.shape[0] == SIZE
    assert terms.nnz == 0


class Graph:
    """A Transform output that has only the vocabulary of item counts."""

    def __init__(self, file):
        self.file = file

    def vocabulary_file_by_name(self, name):
        assert name == "popularity"
        return str(self.file)


@pytest.mark.parametrize("item", [b"007", b"with blanks in it", "红茶".encode()])
def test_popularity_is_read_back_for_every_kind_of_id(tmp_path, item):
    file = tmp_path / "popularity"
    file.write_bytes(b"12 " + item + b"\n3 other\n")
    assert read_popularity(Graph(file)) == {item: 12, b"other": 3}


def splits_of(shop, table, *, without=()):
    """The interactions that the catalogue counts, as rows of the table."""
    row_of = {item: row for row, item in enumerate(table.ids)}
    pairs = {
        "train": [(u, i) for n, (u, i) in enumerate(zip(shop.user, shop.item, strict=True))
                  if n not in without],
        "eval": [],
        "new_items": shop.held_out,
    }  # fmt: skip
    return {
        split: interactions_of(
            np.array([user for user, _ in found], np.int32),
            np.array([row_of[item_id(item)] for _, item in found], np.int32),
            np.ones(len(found), np.float32),
        )
        for split, found in pairs.items()
    }


def test_interactions_that_were_lost_on_the_way_are_missed(shop, table):
    check_counts(table, splits_of(shop, table))
    lost = item_id(shop.item[3]).decode()
    with pytest.raises(DebutError, match=rf"item {lost}, but .*; 1 items differ"):
        check_counts(table, splits_of(shop, table, without=[3]))


def test_items_that_transform_lost_or_wrote_twice_are_missed(catalogue):
    graph, files = catalogue
    with pytest.raises(DebutError, match=rf"wrote {2 * SIZE} items, but counted {SIZE}"):
        read_item_table(files * 2, graph, {})
