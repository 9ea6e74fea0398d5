"""What a pushed version knows of its items and customers, read from its variables.

The graph is not loaded: names, purchases and embeddings lie in the checkpoint under the names of
`models.shelf.shelf.ShelfData`, for products that came after the training too.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import BadInput

_KEPT: Final = 3  # versions in memory: two that are compared, and one that comes
_BLOCK: Final = 65_536  # rows whose embeddings are widened at a time


class Item(NamedTuple):
    """One item; `buyers` counts the known customers who bought it."""

    item_id: str
    name: str
    is_new: bool
    available: bool
    buyers: int


@dataclass(frozen=True)
class ShelfReading:
    """The shelf of I items and U customers.

    Attributes:
        item_id: string [I].
        item_name: string [I], title, category and brand.
        is_new: bool [I], no interaction in the data.
        available: bool [I].
        embedding: bfloat16 [I, D].
        user_id: string [U].
        user_items: int32 [N], rows that each bought, oldest first, customer by customer.
        user_offset: int64 [U + 1].
    """

    item_id: Sequence[str]
    item_name: Sequence[str]
    is_new: npt.NDArray[np.bool_]
    available: npt.NDArray[np.bool_]
    embedding: npt.NDArray[Any]
    user_id: Sequence[str]
    user_items: npt.NDArray[np.int32]
    user_offset: npt.NDArray[np.int64]

    @cached_property
    def _row(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.item_id)}

    @cached_property
    def _place(self) -> dict[str, int]:
        return {user: place for place, user in enumerate(self.user_id)}

    @cached_property
    def _buyers(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.user_items, minlength=len(self.item_id))

    @cached_property
    def _found_by(self) -> list[str]:
        return [
            f"{plain(name)}\n{plain(item)}"
            for item, name in zip(self.item_id, self.item_name, strict=True)
        ]

    @cached_property
    def _users_found_by(self) -> list[tuple[str, str]]:
        """What each customer is found by, and the id; the shortest ids first."""
        users = sorted(self.user_id, key=lambda user: (len(user), user))
        return [(plain(user), user) for user in users]

    def item(self, item_id: str) -> Item | None:
        """The item with an id; None where there is none."""
        row = self._row.get(item_id)
        return None if row is None else self._item(row)

    def knows(self, user: str) -> bool:
        """Whether the data has purchases of a customer."""
        return user in self._place

    def history(self, user: str) -> list[Item]:
        """What a customer bought, the latest first; nothing of an unknown one."""
        if user not in self._place:
            return []
        place = self._place[user]
        start, end = self.user_offset[place], self.user_offset[place + 1]
        return [self._item(row) for row in self.user_items[start:end][::-1]]

    def search_items(self, text: str, limit: int) -> tuple[list[Item], int]:
        """Items that hold every word of a text, and how many there are in all.

        First comes the item with that id, then names that begin with the text, then those that
        hold a word that does; within each, the most bought ones.
        """
        words = plain(text).split()
        if not words:
            best = np.argsort(-self._buyers, kind="stable")[:limit]
            return [self._item(row) for row in best], len(self.item_id)
        rows = [row for row, found in enumerate(self._found_by) if all(w in found for w in words)]
        whole = " ".join(words)

        def place(row: int) -> tuple[int, int, int]:
            found = self._found_by[row]
            fits = 3
            if found.endswith(f"\n{whole}"):
                fits = 0
            elif found.startswith(whole):
                fits = 1
            elif f" {whole}" in found:
                fits = 2
            return fits, -int(self._buyers[row]), row

        return [self._item(row) for row in nsmallest(limit, rows, key=place)], len(rows)

    def search_users(self, text: str, limit: int) -> tuple[list[str], int]:
        """Customers whose ids hold a text, those that begin with it first, and how many in all."""
        wanted = plain(text).strip()
        found = [pair for pair in self._users_found_by if wanted in pair[0]]
        best = nsmallest(limit, found, key=lambda pair: not pair[0].startswith(wanted))
        return [user for _, user in best], len(found)

    def nearest(self, vector: Sequence[float], k: int) -> list[tuple[Item, float]]:
        """The available items with the largest cosine to an embedding of unit length."""
        query = np.asarray(vector, np.float32)
        cosine = np.concatenate(
            [
                self.embedding[start : start + _BLOCK].astype(np.float32) @ query
                for start in range(0, len(self.item_id), _BLOCK)
            ]
        )
        cosine[~self.available] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: min(k, int(self.available.sum()))]
        return [(self._item(row), float(cosine[row])) for row in best]

    def _item(self, row: int) -> Item:
        return Item(
            self.item_id[row],
            self.item_name[row],
            bool(self.is_new[row]),
            bool(self.available[row]),
            int(self._buyers[row]),
        )


def plain(text: str) -> str:
    """A text as it is searched for: without case, accents and compatibility forms."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    if parts.isascii():  # as most ids are
        return parts
    return "".join(part for part in parts if unicodedata.category(part) != "Mn")


def read_shelf(version: Path) -> ShelfReading:
    """Read the shelf of a version's folder.

    Raises:
        BadInput: the folder is not there, or was pushed by a Debut that kept no names.
    """
    import tensorflow as tf

    from models.shelf.pushed_columns import open_columns

    try:
        column = open_columns(version)
        return ShelfReading(
            item_id=_texts(column("item_id")),
            item_name=_texts(column("item_name")),
            is_new=column("is_new"),
            available=column("available"),
            embedding=column("embedding"),
            user_id=_texts(column("user_id")),
            user_items=column("user_items"),
            user_offset=column("user_offset"),
        )
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"The items of {version} can't be read ({error}). Give --root the folder whose model "
            "the server at --target serves."
        ) from error


class Shelves:
    """The shelves of the versions under a folder, of which the last few that were read are kept."""

    def __init__(self, serving: Path) -> None:
        """Reads nothing yet."""
        self._serving = serving
        self._kept: OrderedDict[int, ShelfReading] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, version: int) -> ShelfReading:
        """The shelf of a version; raises BadInput where it can't be read."""
        with self._lock:
            if version not in self._kept:
                self._kept[version] = read_shelf(self._serving / str(version))
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(version)
            return self._kept[version]


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]
