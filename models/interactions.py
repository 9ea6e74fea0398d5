"""Interactions in memory, as rows of the item table and of the user list.

The history of an interaction holds only what came before it; the history of a *user* holds
everything, and is what a served model falls back on for a known user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models import features
from models.arrays import Floats

PAD = -1


@dataclass(frozen=True)
class Interactions:
    """N interactions of one or several splits.

    Attributes:
        user: int32 [N], index into `Users.ids`.
        item: int32 [N], row of the item table.
        rating: float32 [N] in [0, 1].
        timestamp: int64 [N], unix seconds.
        history: int32 [N, H], rows of the user's earlier items, oldest first, PAD at the end.
        history_rating: float32 [N, H], aligned with `history`.
        propensity: float32 [N] in (0, 1], of the item in the list that led to the interaction; NaN
            where none was logged.
        span: int32 [N], in which the row arrived, 0 where the data has no spans.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: Floats
    timestamp: npt.NDArray[np.int64]
    history: npt.NDArray[np.int32]
    history_rating: Floats
    propensity: Floats
    span: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def is_implicit(self) -> bool:
        """Every rating is 1."""
        return bool((self.rating == 1.0).all())

    @property
    def mean_rating(self) -> float:
        """Mean of what was given."""
        return float(self.rating.mean())


@dataclass(frozen=True)
class Users:
    """U users: ids as bytes and their profile text (b"" where there is none)."""

    ids: npt.NDArray[np.object_]
    profiles: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.ids)


class Profiles(NamedTuple):
    """What U users say of themselves, each of P different texts once: most say nothing.

    Attributes:
        encoded: float32 [P, hidden], zeros for an empty text.
        of: int32 [U], the row of each user's.
    """

    encoded: Floats
    of: npt.NDArray[np.int32]

    def at(self, users: npt.NDArray[np.signedinteger[Any]]) -> Floats:
        """Those of some users: rows [N] to float32 [N, hidden]."""
        found: Floats = self.encoded[self.of[users]]
        return found


def read_interactions(
    files: dict[str, list[str]], item_ids: npt.NDArray[np.object_], history_length: int
) -> tuple[dict[str, Interactions], Users]:
    """Read interactions as ingested, split by split.

    Args:
        files: TFRecord (gzip) files of each split.
        item_ids: ids of the item table; an interaction's item is always among them.
        history_length: H.
    """
    rows = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(item_ids)), tf.range(len(item_ids), dtype=tf.int32)
        ),
        default_value=PAD,
    )
    parse = _parser(rows, history_length)
    columns = {split: _read(paths, parse) for split, paths in files.items()}
    user_ids = np.concatenate([c[features.USER_ID] for c in columns.values()])
    profiles = np.concatenate([c[features.PROFILE] for c in columns.values()])
    ids, first, index = np.unique(user_ids, return_index=True, return_inverse=True)
    splits: dict[str, Interactions] = {}
    start = 0
    for split, column in columns.items():
        end = start + len(column[features.USER_ID])
        splits[split] = Interactions(
            user=index[start:end].astype(np.int32),
            item=column[features.ITEM_ID],
            rating=column[features.RATING],
            timestamp=column[features.TIMESTAMP],
            history=column[features.HISTORY],
            history_rating=column[features.HISTORY_RATING],
            propensity=column[features.PROPENSITY],
            span=column[features.SPAN].astype(np.int32),
        )
        start = end
    return splits, Users(ids=ids.astype(object), profiles=profiles[first].astype(object))


@dataclass(frozen=True)
class Purchases:
    """The different items of each of U users, oldest first, one user after the other.

    Attributes:
        item: int32 [N], rows.
        rating: float32 [N], the latest of each item, of several at one second the highest.
        offset: int64 [U + 1], where each user's part begins.
    """

    item: npt.NDArray[np.int32]
    rating: Floats
    offset: npt.NDArray[np.int64]

    @classmethod
    def of(cls, interactions: list[Interactions], num_users: int) -> Purchases:
        """Of several splits together; an item stands where it was bought last."""
        user = np.concatenate([part.user for part in interactions])
        item = np.concatenate([part.item for part in interactions])
        rating = np.concatenate([part.rating for part in interactions])
        time = np.concatenate([part.timestamp for part in interactions])
        # By the rating too, as in the histories of ingestion: a runner of Beam gives no order.
        newest_first = np.lexsort((-rating, item, -time, user))
        user, item, rating = user[newest_first], item[newest_first], rating[newest_first]
        pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
        latest = np.unique(pair, return_index=True)[1]
        oldest_first = latest[np.lexsort((-latest, user[latest]))]
        return cls(
            item=item[oldest_first],
            rating=rating[oldest_first],
            offset=np.searchsorted(user[oldest_first], np.arange(num_users + 1)).astype(np.int64),
        )


def _parser(
    rows: tf.lookup.StaticHashTable, history_length: int
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """What parses serialized interactions, string [N]; one graph for all splits."""
    spec = {
        features.USER_ID: tf.io.FixedLenFeature([], tf.string),
        features.ITEM_ID: tf.io.FixedLenFeature([], tf.string),
        features.RATING: tf.io.FixedLenFeature([], tf.float32),
        features.TIMESTAMP: tf.io.FixedLenFeature([], tf.int64),
        features.PROFILE: tf.io.FixedLenFeature([], tf.string),
        features.PROPENSITY: tf.io.RaggedFeature(tf.float32),
        features.SPAN: tf.io.FixedLenFeature([], tf.int64, 0),
        features.HISTORY: tf.io.RaggedFeature(tf.string),
        features.HISTORY_RATING: tf.io.RaggedFeature(tf.float32),
    }

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed: dict[str, tf.Tensor] = tf.io.parse_example(serialized, spec)
        history = tf.ragged.map_flat_values(rows.lookup, parsed[features.HISTORY])
        width = [None, history_length]
        propensity = parsed[features.PROPENSITY].to_tensor(float("nan"), shape=[None, 1])
        return parsed | {
            features.ITEM_ID: rows.lookup(parsed[features.ITEM_ID]),
            features.HISTORY: history[:, -history_length:].to_tensor(PAD, shape=width),
            features.HISTORY_RATING: parsed[features.HISTORY_RATING][:, -history_length:].to_tensor(
                0.0, shape=width
            ),
            features.PROPENSITY: propensity[:, 0],
        }

    traced: Callable[[tf.Tensor], dict[str, tf.Tensor]] = tf.function(
        parse, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    return traced


def _read(
    paths: list[str], parse: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> dict[str, npt.NDArray[Any]]:
    dataset = tf.data.TFRecordDataset(sorted(paths), compression_type="GZIP").batch(4096)
    batches = list(dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator())
    if not batches:
        empty = parse(tf.constant([], tf.string))
        return {name: column.numpy() for name, column in empty.items()}
    # A column at a time, and its parts are given up: nothing stands twice but one column.
    return {
        name: np.concatenate([batch.pop(name) for batch in batches]) for name in list(batches[0])
    }
