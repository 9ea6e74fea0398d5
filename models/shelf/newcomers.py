"""Puts products on the shelf of a loaded SavedModel: new values for its columns.

Nothing is traced or trained. What a product inherits is computed as in training
(`models.shelf.admission`); first interactions are `models.shelf.intake`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models import features
from models.arrays import Rows
from models.inheritance.anchors import fallback_logits
from models.interactions import PAD
from models.preprocessing import item_name, word_count
from models.products import Described, Product
from models.rules import Goods, Rules, on_day, rule
from models.shelf.admission import Admission, Categories
from models.shelf.id_index import sort_ids
from models.shelf.intake import NewValues
from models.shelf.offered import offered

# What a product begins with, by column; the others come from its texts.
_BLANK: Final = {
    "item_name": b"",
    "embedding": 0.0,
    "is_new": True,
    "is_cold": True,
    "available": True,
    "served.demand": 0.0,
    "served.quality": 0.0,
    "served.log_popularity": 0.0,
    "served.fallback": np.finfo(np.float32).min,
    "judged.demand": 0.0,
    "judged.quality": 0.0,
    "judged.log_popularity": 0.0,
    "judged.fallback": np.finfo(np.float32).min,
    "evidence.of": PAD,
    "evidence.expected_share": 0.0,
}


class Placed(NamedTuple):
    """What putting N products on the shelf changes.

    Attributes:
        columns: new values by the name of the column, such as "embedding" or "served.source".
        new: int64 [n], rows of the products that came to the shelf.
        realigned: int64 [r], rows of those that inherit anew, because their texts changed.
        heard: int64 [h], rows of those of whom interactions say more than the changed texts: they
            keep their anchors, and `models.shelf.intake` moves their embedding again.
        anchors: int64 [a], rows of those that lend: only their embedding changes.
    """

    columns: NewValues
    new: Rows
    realigned: Rows
    heard: Rows
    anchors: Rows


def place(
    model: Any, admission: Admission, products: Sequence[Product], described: Described,
    rules: Rules | None = None,
) -> Placed:  # fmt: skip
    """Compute the new columns; `models.shelf.intake.assign` puts them on the shelf.

    A product that is on the shelf is updated. No other item's row changes. In the list for somebody
    unknown a new product is the last one until `reordered` finds its place.

    Args:
        model: a loaded SavedModel.
        admission: the file beside it.
        products: at least one, of different ids.
        described: of these.
        rules: of the model, None where it has none.
    """
    shelf = model._shelf
    known = shelf.item_id.numpy()
    row_of = {item: row for row, item in enumerate(known)}
    ids = [product.item.encode() for product in products]
    new_ids = [item for item in ids if item not in row_of]
    row_of |= {item: len(known) + more for more, item in enumerate(new_ids)}
    row = np.array([row_of[item] for item in ids], np.int64)
    columns = _longer(shelf, np.array([*known, *new_ids], object), len(new_ids))

    is_new, noted = row >= len(known), columns["evidence.of"][row]
    is_anchor = columns["served.source"][row] < len(shelf.served.reference_weight.numpy())
    is_heard = ~is_anchor & (noted != PAD)
    columns["embedding"][row] = described.embedding
    texts = {
        name: tf.constant([getattr(product, name) for product in products])
        for name in features.ITEM_NAME
    }
    columns["item_name"][row] = item_name(texts).numpy()
    columns["evidence.text"][noted[is_heard]] = described.embedding[is_heard]
    for product, at in zip(products, row, strict=True):
        if product.available is not None:
            columns["available"][at] = product.available
    if rules is not None:
        columns |= _ruled(shelf, rules, products, row, len(new_ids))
    heirs = np.flatnonzero(~is_anchor & ~is_heard)
    if len(heirs):
        _inherit(shelf, admission, columns, row[heirs], described.rows(heirs))
    return Placed(
        columns=columns,
        new=row[is_new],
        realigned=row[heirs][~is_new[heirs]],
        heard=row[is_heard],
        anchors=row[is_anchor],
    )


def withdraw(model: Any, ids: Iterable[str]) -> NewValues:
    """The new column that keeps items from being recommended.

    Args:
        model: a loaded SavedModel.
        ids: of items on its shelf.
    """
    gone = {item.encode() for item in ids}
    known = model._shelf.item_id.numpy().tolist()
    available: npt.NDArray[np.bool_] = model._shelf.available.numpy()
    return {"available": available & [item not in gone for item in known]}


def _longer(shelf: Any, ids: npt.NDArray[np.object_], count: int) -> NewValues:
    """The columns of items with `count` new ones at the end, which inherit nothing yet."""
    columns: NewValues = {"item_id": ids, "evidence.text": shelf.evidence.text.numpy()}
    columns["id_fingerprint"], columns["id_row"] = sort_ids(ids)
    for name, value in _BLANK.items():
        column = attrgetter(name)(shelf).numpy()
        more = np.full((count, *column.shape[1:]), value, column.dtype)
        columns[name] = np.concatenate([column, more])
    span = shelf.span.numpy()
    columns["span"] = np.append(span, np.full(count, span.max(initial=0), span.dtype))
    bought = shelf.buyers.offset.numpy()
    columns["buyers.offset"] = np.append(bought, np.full(count, bought[-1]))
    # In the evaluation a new product has the blank list, which is behind the anchors' own.
    own = len(shelf.served.anchor_index.numpy()) + np.arange(count)
    blank = np.full(count, len(shelf.judged.reference_weight.numpy()))
    for name, more in (("served.source", own), ("judged.source", blank)):
        source = attrgetter(name)(shelf).numpy()
        columns[name] = np.concatenate([source, more.astype(source.dtype)])
    for name in ("anchor_index", "anchor_weight"):
        column = getattr(shelf.served, name).numpy()
        more = np.zeros((count, column.shape[1]), column.dtype)
        columns[f"served.{name}"] = np.concatenate([column, more])
    return columns


def _ruled(
    shelf: Any, rules: Rules, products: Sequence[Product], row: Rows, count: int
) -> NewValues:
    """The columns of rules with what they say of products at rows, `count` of them new ones."""
    item, category, brand = (
        np.array([getattr(product, name).encode() for product in products], object)
        for name in ("item", "category", "brand")
    )
    price = np.array([product.price for product in products], np.float32)
    words = word_count(
        *(tf.constant([getattr(product, name) for product in products]) for name in features.OWN)
    ).numpy()
    goods = Goods(item, category, brand, price, words)
    said = rule(rules, goods, now=time.time())
    columns: NewValues = {}
    for field in fields(said):
        column = getattr(shelf.rules, field.name).numpy()
        more = np.zeros((count, *column.shape[1:]), column.dtype)
        column = np.concatenate([column, more])
        column[row] = getattr(said, field.name)
        columns[f"rules.{field.name}"] = column
    return columns


def refreshed(model: Any) -> NewValues:
    """The new column of what the rules' dates allow now, of a model with rules."""
    kept = model._shelf.rules
    on_sale = on_day(kept.first.numpy(), kept.end.numpy(), time.time())
    return {"rules.allowed": kept.passes.numpy() & on_sale}


def reordered(model: Any) -> NewValues:
    """The new column that orders items for somebody unknown, by what is on the shelf now.

    It depends on every row: on which are there, which may be recommended, and who bought them.
    """
    shelf = model._shelf
    # An item of first interactions is a new one until the next training.
    bought = np.where(shelf.is_new.numpy(), 0, np.diff(shelf.buyers.offset.numpy()))
    popularity = shelf.served.log_popularity.numpy()
    return {"served.fallback": fallback_logits(bought, popularity, offered(shelf))}


def _inherit(
    shelf: Any, admission: Admission, columns: NewValues, rows: Rows, described: Described
) -> None:
    """Fill in what items that are no anchors inherit."""
    admitted = admission(
        admission.view(described, columns["item_id"], rows),
        columns["served.anchor_index"].shape[1],
        reference=shelf.served.reference_weight.numpy(),
        categories=_categories(shelf, columns, rows),
    )
    lists = columns["served.source"][rows]
    columns["served.anchor_index"][lists] = admitted.anchor_index
    columns["served.anchor_weight"][lists] = admitted.anchor_weight
    columns["served.log_popularity"][rows] = admitted.log_popularity
    # Its own ratings say more of an item of training that is no anchor.
    unrated = columns["is_new"][rows]
    columns["served.quality"][rows[unrated]] = admitted.quality[unrated]
    columns["evidence.expected_share"][rows] = admitted.expected_share


def _categories(shelf: Any, columns: NewValues, rows: Rows) -> Categories | None:
    """Of products at rows, where the model has rules by which some may inherit from these."""
    level = columns.get("rules.level")
    if level is None:
        return None
    anchors = np.flatnonzero(columns["served.source"] < len(shelf.served.reference_weight.numpy()))
    return Categories(level[rows], columns["rules.backs_off"][rows], level[anchors])
