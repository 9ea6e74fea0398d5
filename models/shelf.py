"""The shelf: what is served about items and users, apart from what is learned.

The towers are the model; the shelf is data beside it. Its variables have an unknown first
dimension, so products can be added to a loaded SavedModel without tracing or training anything.
Everything that changes between trainings belongs here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
from tensorflow.python.ops import lookup_ops

from models.interactions import PAD
from models.item_table import ItemTable
from models.options import ModelOptions
from models.simulation import SimulatedLaunch
from models.two_tower import TwoTower

_BATCH = 1024
_RIDGE = 1.0
# In a list for somebody unknown, every fifth place is a new product's.
_NEW_ITEM_EVERY = 5
_FIRST_NEW_PLACE = 2


@dataclass(frozen=True)
class ShelfData:
    """The columns of the shelf of I items, A anchors and U users.

    Attributes:
        item_id: string [I].
        embedding: float32 [I, D], of unit length.
        anchor_index: int32 [I, K], anchors an item attends to.
        anchor_weight: float32 [I, K], sums to 1.
        demand: float32 [I], logit.
        fallback: float32 [I], logit for a user of whom nothing is known.
        is_new: bool [I], no interaction in the data.
        is_cold: bool [I], no interaction in the train split.
        anchor_of: int32 [I], the item's own place among the anchors, PAD where it is none.
        anchor_teacher: float32 [A, A], EASE weights.
        anchor_row: int32 [A], the anchors' rows.
        anchor_probe: float32 [D, A], from the anchors' logits to the direction in which the
            embeddings tell them best: ridge regression, (EᵀE + λ)⁻¹ Eᵀ.
        cold_attention: float32 [A], mean attention of the cold items.
        user_history: int32 [U, L], latest rows, oldest first, PAD at the end.
        user_rating: float32 [U, L], aligned.
        user_profile: float32 [U, D], projected; zeros where there is none.
        user_items: int32 [N], all rows a user has bought, user by user.
        user_offset: int64 [U + 1], where each user's part of `user_items` begins.
    """

    item_id: npt.NDArray[np.object_]
    embedding: npt.NDArray[np.float32]
    anchor_index: npt.NDArray[np.int32]
    anchor_weight: npt.NDArray[np.float32]
    demand: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.float32]
    is_new: npt.NDArray[np.bool_]
    is_cold: npt.NDArray[np.bool_]
    anchor_of: npt.NDArray[np.int32]
    anchor_teacher: npt.NDArray[np.float32]
    anchor_row: npt.NDArray[np.int32]
    anchor_probe: npt.NDArray[np.float32]
    cold_attention: npt.NDArray[np.float32]
    user_history: npt.NDArray[np.int32]
    user_rating: npt.NDArray[np.float32]
    user_profile: npt.NDArray[np.float32]
    user_items: npt.NDArray[np.int32]
    user_offset: npt.NDArray[np.int64]


class Shelf(tf.Module):
    """The shelf's columns as variables, with tables from ids to rows."""

    def __init__(self, data: ShelfData, *, user_ids: Path) -> None:
        """Take the data in.

        Args:
            data: the columns.
            user_ids: file with one user id a line, in row order.
        """
        super().__init__(name="shelf")
        for column in fields(data):
            value = getattr(data, column.name)
            variable = tf.Variable(
                value, trainable=False, name=column.name, shape=[None, *value.shape[1:]]
            )
            setattr(self, column.name, variable)
        self._user_file = tf.saved_model.Asset(str(user_ids))
        self._row_of_item = tf.lookup.StaticHashTable(_RowsOf(self.item_id), PAD)
        self._row_of_user = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self._user_file,
                key_dtype=tf.string, key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
                value_dtype=tf.int64, value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=PAD,
        )  # fmt: skip

    def embeddings(self) -> tf.Tensor:
        """All item embeddings, float32 [I, D], without a copy.

        To gather from the variable itself would make each later dense read of it a copy
        (`EnsureSparseVariableAccess` in TensorFlow's resource_variable_ops), so all come here.
        """
        return self.embedding.read_value()

    def item_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of item ids, PAD where unknown: string [..] to int64 [..]."""
        return self._row_of_item.lookup(ids)

    def item_ids(self, rows: tf.Tensor) -> tf.Tensor:
        """Ids of rows, "" for PAD: int [..] to string [..]."""
        return tf.where(rows == PAD, "", tf.gather(self.item_id, tf.maximum(rows, 0)))

    def user_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of user ids, PAD where unknown: string [..] to int64 [..]."""
        return self._row_of_user.lookup(ids)


class _RowsOf(lookup_ops.TableInitializerBase):  # no stubs
    """Fills a table from ids to rows with what a variable holds when the model is loaded.

    A file of ids beside the variable would be a second truth, and one more thing to make longer.
    Loaders restore variables before they fill tables (`LoadSavedModelInternal` in TensorFlow's
    cc/saved_model/loader.cc: RunRestore, then RunInitOp).
    """

    def __init__(self, ids: tf.Variable) -> None:
        super().__init__(tf.string, tf.int64)
        self._ids = ids

    def initialize(self, table: Any) -> tf.Operation:
        ids = self._ids.read_value()
        return tf.raw_ops.LookupTableImportV2(
            table_handle=table.resource_handle,
            keys=ids,
            values=tf.range(tf.size(ids, out_type=tf.int64)),
        )


def fill_shelf(
    model: TwoTower,
    table: ItemTable,
    features: npt.NDArray[np.float32],
    known: SimulatedLaunch,
    *,
    user_history: npt.NDArray[np.int32],
    user_rating: npt.NDArray[np.float32],
    user_text: npt.NDArray[np.float32],
    purchases: sp.csr_matrix,
    options: ModelOptions,
) -> ShelfData:
    """Run the item tower over the whole catalogue, new products included.

    Args:
        model: trained towers.
        table: the catalogue.
        features: float32 [I, F] of `item_features`.
        known: a launch whose anchors are the seen items; its targets are not used.
        user_history: int32 [U, L].
        user_rating: float32 [U, L].
        user_text: float32 [U, hidden], encoded profiles.
        purchases: users x items of 0 and 1, all splits; never recommended again.
        options: widths.
    """
    outputs = [
        model.items(features[s : s + _BATCH], table.price_bucket[s : s + _BATCH])
        for s in range(0, len(table), _BATCH)
    ]
    embedding, key, demand = (
        np.concatenate([o.numpy() for o in part]) for part in zip(*outputs, strict=True)
    )
    anchor_of = np.full(len(table), PAD, np.int32)
    anchor_of[known.anchors] = np.arange(len(known.anchors), dtype=np.int32)
    index, weight = _attention(model, key, anchor_of, known.anchors, options.anchors_per_item)
    cold = np.flatnonzero(table.is_cold)
    popularity = (known.log_popularity[index] * weight).sum(axis=1)
    demand = demand + model.retrieval.inherited_demand(tf.constant(popularity)).numpy()
    return ShelfData(
        item_id=table.ids,
        embedding=embedding,
        anchor_index=index,
        anchor_weight=weight,
        demand=demand,
        fallback=fallback_logits(table, demand),
        is_new=table.is_new,
        is_cold=table.is_cold,
        anchor_of=anchor_of,
        anchor_teacher=known.teacher,
        anchor_row=known.anchors.astype(np.int32),
        anchor_probe=_probe(embedding[known.anchors]),
        cold_attention=_mean_attention(index[cold], weight[cold], len(known.anchors)),
        user_history=user_history,
        user_rating=user_rating,
        user_profile=model.profile(tf.constant(user_text)).numpy(),
        user_items=purchases.indices.astype(np.int32),
        user_offset=purchases.indptr.astype(np.int64),
    )


def fallback_logits(table: ItemTable, demand: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Popular items with room for new ones, as logits of a Zipf law over the ranks.

    Args:
        table: the catalogue with its counts.
        demand: float32 [I], orders the new products among themselves.

    Returns:
        float32 [I].
    """
    new = deque(np.flatnonzero(table.is_new)[np.argsort(-demand[table.is_new], kind="stable")])
    sold = np.flatnonzero(~table.is_new)
    old = deque(sold[np.argsort(-table.interactions[sold], kind="stable")])
    order: list[int] = []
    while new or old:
        is_new_turn = new and (not old or len(order) % _NEW_ITEM_EVERY == _FIRST_NEW_PLACE)
        order.append(new.popleft() if is_new_turn else old.popleft())
    logits = np.empty(len(table), np.float32)
    logits[order] = -np.log(np.arange(1, len(table) + 1))
    return logits


def _attention(
    model: TwoTower,
    key: npt.NDArray[np.float32],
    anchor_of: npt.NDArray[np.int32],
    anchors: npt.NDArray[np.int64],
    per_item: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The strongest anchors of each item, renormalised; an anchor stands for itself."""
    width = min(per_item, len(anchors))
    indices, weights = [], []
    for start in range(0, len(key), _BATCH):
        logits = model.retrieval.attention_logits(key[start : start + _BATCH], key[anchors])
        strongest, index = tf.math.top_k(logits, k=width)
        indices.append(index.numpy())
        weights.append(tf.nn.softmax(strongest, axis=1).numpy())
    index, weight = np.concatenate(indices), np.concatenate(weights)
    own = np.flatnonzero(anchor_of != PAD)
    index[own, 0] = anchor_of[own]
    weight[own] = np.eye(1, width, dtype=np.float32)
    return index.astype(np.int32), weight


def _probe(embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    gram = embedding.T @ embedding + _RIDGE * np.eye(embedding.shape[1], dtype=np.float32)
    probe: npt.NDArray[np.float32] = np.linalg.solve(gram, embedding.T).astype(np.float32)
    return probe


def _mean_attention(
    index: npt.NDArray[np.int32], weight: npt.NDArray[np.float32], anchors: int
) -> npt.NDArray[np.float32]:
    total = np.bincount(index.ravel(), weight.ravel(), minlength=anchors)
    return (total / max(len(index), 1)).astype(np.float32)
