"""The catalogue in memory: one row per item, in the order of Transform's item vocabulary.

Everything after ingestion speaks in these rows. Text is tokenised once per item by Transform and
never again; training looks items up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.arrays import Floats
from models.errors import DebutError
from models.inheritance.kernel import ItemView, place_in_order
from models.interactions import Interactions
from models.rules import Goods


@dataclass(frozen=True)
class ItemTable:
    """Column-wise catalogue of I items.

    Attributes:
        ids: object [I], the item ids as bytes.
        goods: as rules look at them.
        name: object [I], title, category and brand as bytes.
        tokens: int32 [I, max_tokens].
        terms: float32 [I, columns], sparse, TF-IDF of unit length.
        lexical: float32 [I, lexical_size], a sketch of the terms.
        price_bucket: int32 [I], 0 where the price is unknown.
        price_level: float32 [I], standardised logarithm of the price, 0 where it is unknown.
        brand_code: int64 [I], equal for equal brands.
        interactions: int64 [I], over all splits; 0 is a new product.
        available: bool [I], False for one that is not on sale.
        popularity: int64 [I], in the train split only; 0 is cold to training.
    """

    ids: npt.NDArray[np.object_]
    goods: Goods
    name: npt.NDArray[np.object_]
    tokens: npt.NDArray[np.int32]
    terms: sp.csr_matrix
    lexical: Floats
    price_bucket: npt.NDArray[np.int32]
    price_level: Floats
    brand_code: npt.NDArray[np.int64]
    interactions: npt.NDArray[np.int64]
    available: npt.NDArray[np.bool_]
    popularity: npt.NDArray[np.int64]

    @property
    def is_new(self) -> npt.NDArray[np.bool_]:
        """Items that no interaction mentions: bool [I]."""
        return np.equal(self.interactions, 0)

    @property
    def is_cold(self) -> npt.NDArray[np.bool_]:
        """Items that training never saw, the held-out ones included: bool [I]."""
        return np.equal(self.popularity, 0)

    def __len__(self) -> int:
        return len(self.ids)

    def view(self, text: Floats) -> ItemView:
        """What the item kernel sees, with the encoder's output float32 [I, hidden]."""
        return ItemView(
            text=text,
            terms=self.terms,
            place=place_in_order(self.ids),
            price=np.where(self.price_bucket == 0, np.float32(np.nan), self.price_level),
            brand=self.brand_code,
        )


def read_item_table(
    files: list[str], graph: tft.TFTransformOutput, popularity: dict[bytes, int]
) -> ItemTable:
    """Read the transformed catalogue.

    Args:
        files: TFRecord (gzip) files of transformed catalogue Examples.
        graph: the catalogue's Transform output; its vocabulary orders the rows.
        popularity: interactions of each item in the train split.
    """
    ids = graph.vocabulary_by_name(features.ITEM_ID)
    row_of = {item: row for row, item in enumerate(ids)}
    spec = graph.transformed_feature_spec()
    dataset = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(1024)
    batches = list(dataset.map(lambda serialized: tf.io.parse_example(serialized, spec)))
    whole = {name: tf.concat([batch[name] for batch in batches], axis=0) for name in spec}
    terms = _sparse(whole.pop(features.TERM_IDS), whole.pop(features.TERM_WEIGHTS))
    joined = {name: column.numpy() for name, column in whole.items()}
    rows = np.array([row_of[item] for item in joined[features.ITEM_ID]], np.int64)
    _check_rows(rows, ids)
    order = np.argsort(rows)
    return ItemTable(
        ids=np.array(ids, dtype=object),
        goods=Goods(
            item=np.array(ids, dtype=object),
            category=joined[features.CATEGORY][order],
            brand=joined[features.BRAND][order],
            price=joined[features.PRICE][order].astype(np.float32),
            words=joined[features.WORDS][order].astype(np.int64),
        ),
        name=joined[features.NAME][order],
        tokens=joined[features.TOKENS][order].astype(np.int32),
        terms=terms[order],
        lexical=joined[features.LEXICAL][order].astype(np.float32),
        price_bucket=joined[features.PRICE_BUCKET][order].astype(np.int32),
        price_level=joined[features.PRICE_LEVEL][order].astype(np.float32),
        brand_code=joined[features.BRAND_CODE][order].astype(np.int64),
        interactions=joined[features.INTERACTIONS][order].astype(np.int64),
        available=joined[features.AVAILABLE][order].astype(np.bool_),
        popularity=np.array([popularity.get(item, 0) for item in ids], np.int64),
    )


def check_counts(table: ItemTable, splits: Mapping[str, Interactions]) -> None:
    """Check item by item that Transform and the reader saw the interactions that ingestion wrote.

    Args:
        table: the catalogue, with the counts of ingestion and of Transform.
        splits: interactions as they were read.

    Raises:
        DebutError: rows were lost or repeated on the way.
    """
    counts = {split: np.bincount(part.item, minlength=len(table)) for split, part in splits.items()}
    _check_equal(table, "the catalogue", table.interactions, np.sum([*counts.values()], axis=0))
    _check_equal(table, "TransformInteractions", table.popularity, counts[features.TRAIN])


def _check_equal(
    table: ItemTable, where: str, told: npt.NDArray[np.int64], read: npt.NDArray[np.int64]
) -> None:
    differing = np.flatnonzero(told != read)
    if len(differing):
        row = differing[0]
        raise DebutError(
            f"{where} counts {told[row]} interactions with item {table.ids[row].decode()}, but "
            f"{read[row]} were read; {len(differing)} items differ. A Beam runner lost or repeated "
            "rows. Run again with --set run.enable_cache=false --set run.beam_runner=direct."
        )


def _check_rows(rows: npt.NDArray[np.int64], ids: list[bytes]) -> None:
    if len(rows) != len(ids) or len(np.unique(rows)) != len(ids):
        raise DebutError(
            f"TransformCatalogue wrote {len(rows)} items, but counted {len(ids)}. A Beam runner "
            "lost or repeated rows. Run again with --set run.enable_cache=false "
            "--set run.beam_runner=direct."
        )


def _sparse(ids: tf.RaggedTensor, weights: tf.RaggedTensor) -> sp.csr_matrix:
    columns, starts = ids.values.numpy(), ids.row_splits.numpy()
    # A catalogue without a word in any of its texts has no term, whose number could tell the width.
    shape = (len(starts) - 1, columns.max(initial=0) + 1)
    return sp.csr_matrix((weights.values.numpy(), columns, starts), shape=shape, dtype=np.float32)


def read_popularity(graph: tft.TFTransformOutput) -> dict[bytes, int]:
    """Counts per item id that Transform took over the train split of the interactions."""
    lines = tf.io.gfile.GFile(graph.vocabulary_file_by_name(features.POPULARITY), "rb")
    with lines:
        pairs = (line.rstrip(b"\n").split(b" ", 1) for line in lines)
        return {item: int(count) for count, item in pairs}
