"""The shelf: what is served about items and users, apart from what is learned.

The towers are the model; the shelf is data beside it. Its variables have an unknown first
dimension, so products can be added to a loaded SavedModel without tracing or training anything.
Everything that changes between trainings belongs here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Floats
from models.candidates.columns import CandidateIndex
from models.candidates.search import CandidateSearch
from models.columns import ROUNDS, Columns, take
from models.exploration.exploration import Exploration
from models.few_shot.evidence import Evidence
from models.inheritance.anchors import Inheritance
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.rules import Ruled
from models.shelf.buyers import Buyers
from models.shelf.id_index import find_rows

# Half the memory of float32, and half of what a scan reads; of the 16-bit types, that which any
# processor widens at once.
STORED = tf.bfloat16.as_numpy_dtype


@dataclass(frozen=True)
class ShelfData:
    """The columns of the shelf of I items and U users.

    Attributes:
        item_id: string [I].
        item_name: string [I], title, category and brand; what an explanation splits into words.
        id_fingerprint: int64 [I], of the ids, rising; see `models.shelf.id_index`.
        id_row: int32 [I], the row of each.
        embedding: bfloat16 [I, D], of unit length before it was rounded.
        is_new: bool [I], no interaction in the data.
        is_cold: bool [I], no interaction in the train split.
        available: bool [I], False for an item that is never recommended.
        span: int32 [I], of the first interaction; 0 where the data has no spans.
        user_id: string [U].
        user_profile: int32 [U], each user's place among the profiles.
        profile: float32 [P, D], the different ones, projected; zeros for an empty one.
        user_items: int32 [N], all different rows a user has bought, oldest first, user by user.
        user_rating: float32 [N], the latest rating of each.
        user_offset: int64 [U + 1], where each user's part of `user_items` begins.
        served: what items inherit from all interactions.
        judged: what those with any interaction inherit from those of the train split.
        evidence: what first interactions since then say of items.
        buyers: the purchases by item.
        rules: what rules say of the items, None without any.
        exploration: what lists have shown of new items, and which of them get a chance.
        index: by which a large catalogue is searched.
    """

    item_id: npt.NDArray[np.object_]
    item_name: npt.NDArray[np.object_]
    id_fingerprint: npt.NDArray[np.int64]
    id_row: npt.NDArray[np.int32]
    embedding: npt.NDArray[Any]
    is_new: npt.NDArray[np.bool_]
    is_cold: npt.NDArray[np.bool_]
    available: npt.NDArray[np.bool_]
    span: npt.NDArray[np.int32]
    user_id: npt.NDArray[np.object_]
    user_profile: npt.NDArray[np.int32]
    profile: Floats = field(metadata={ROUNDS: True})
    user_items: npt.NDArray[np.int32]
    user_rating: Floats
    user_offset: npt.NDArray[np.int64]
    served: Inheritance
    judged: Inheritance
    evidence: Evidence
    buyers: Buyers
    rules: Ruled | None
    exploration: Exploration
    index: CandidateIndex


class Shelf(Columns):
    """The shelf's columns as variables, and how ids become rows."""

    def __init__(self, data: ShelfData, *, user_ids: Path, small: bool = False) -> None:
        """Take the data in.

        Args:
            data: the columns.
            user_ids: file with one user id a line, in row order.
            small: whether the large matrices are kept in 8 bits.
        """
        super().__init__(data, small=small)
        self.served = Inherited(data.served, small=small)
        self.judged = Inherited(data.judged, small=small)
        self.buyers = Columns(data.buyers)
        self.index = CandidateSearch(data.index)
        if data.rules is not None:
            self.rules = Columns(data.rules)
        self.evidence = Columns(data.evidence)
        self.exploration = Columns(data.exploration)
        self._user_file = tf.saved_model.Asset(str(user_ids))
        self._row_of_user = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self._user_file,
                key_dtype=tf.string, key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
                value_dtype=tf.int64, value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=PAD,
        )  # fmt: skip

    def fill(self, data: ShelfData) -> None:
        """Put other data in the place of that which was taken in; see `Columns.fill`."""
        super().fill(data)
        for name in ("served", "judged", "evidence", "buyers", "exploration", "index"):
            getattr(self, name).fill(getattr(data, name))
        if data.rules is not None:
            self.rules.fill(data.rules)

    def item_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of item ids, PAD where unknown: string [..] to int64 [..]."""
        return find_rows(
            ids, ids=self.item_id.read_value(), fingerprint=self.id_fingerprint.read_value(),
            row=self.id_row.read_value(),
        )  # fmt: skip

    def item_ids(self, rows: tf.Tensor) -> tf.Tensor:
        """Ids of rows, "" for PAD: int [..] to string [..]."""
        return tf.where(rows == PAD, "", take(self.item_id, tf.maximum(rows, 0)))

    def user_ids(self, rows: tf.Tensor) -> tf.Tensor:
        """Ids of users' rows, "" for PAD: int [..] to string [..]."""
        return tf.where(rows == PAD, "", take(self.user_id, tf.maximum(rows, 0)))

    def embeddings(self, rows: tf.Tensor) -> tf.Tensor:
        """Embeddings of rows: int [..] to float32 [.., D]."""
        return tf.cast(take(self.embedding, rows), tf.float32)

    def purchases(self, users: tf.Tensor) -> tf.RaggedTensor:
        """Places in `user_items` of users' purchases, none for PAD: int64 [B] to [B, (N)]."""
        place = tf.maximum(users, 0)
        start = take(self.user_offset, place)
        end = tf.where(users == PAD, start, take(self.user_offset, place + 1))
        return tf.ragged.range(start, end)

    def user_rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of user ids, PAD where unknown: string [..] to int64 [..]."""
        return self._row_of_user.lookup(ids)
