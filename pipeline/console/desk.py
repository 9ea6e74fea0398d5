"""The answers of the console: the model server's, with the names that a root has for them.

Every method returns what becomes JSON. Answers name the version that gave them, and all parts of
one are asked of the same version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from models.errors import BadInput, DebutError, Unreachable
from pipeline.console.shelf import Item, ShelfReading, Shelves
from pipeline.layout import serving_folder
from pipeline.reasons import strongest
from serving.answers import Explanation
from serving.client import Client
from serving.version_labels import read_labels

FOUND: Final = 12  # hits of a search
_HISTORY: Final = 40  # latest items of a customer
_LATEST: Final = 3  # items of a customer in an audience
_LIST: Final = 100  # the longest list
_STATUS_SECONDS: Final = 3.0  # so that the page soon says that nobody answers

Json = dict[str, Any]


class Desk:
    """Asks a model server about a root."""

    def __init__(self, root: Path, client: Client) -> None:
        """Asks nothing yet."""
        self._serving = serving_folder(root)
        self._client = client
        self._shelves = Shelves(self._serving)

    def status(self) -> Json:
        """Whether the server answers, and from which versions."""
        try:
            loaded = _available(self._client.within(_STATUS_SECONDS))
        except Unreachable as error:
            return {"reachable": False, "error": str(error), "versions": []}
        labels = read_labels(self._serving)
        return {
            "reachable": True,
            "error": "",
            "versions": [
                {
                    "version": version,
                    "labels": sorted(name for name, held in labels.items() if held == version),
                }
                for version in loaded
            ],
        }

    def warm(self) -> None:
        """Makes the newest shelf ready ahead, where a server is there to be asked about it."""
        versions = self.status()["versions"]
        if versions:
            for search in (self.items, self.users):
                search("a", versions[0]["version"])

    def items(self, text: str, version: int | None) -> Json:
        """Items that a text names: the best, and how many there are."""
        shelf, version = self._shelf(version)
        found, count = shelf.search_items(text, FOUND)
        return {"version": version, "found": [item._asdict() for item in found], "count": count}

    def users(self, text: str, version: int | None) -> Json:
        """Customers whose ids hold a text: the best, and how many there are."""
        shelf, version = self._shelf(version)
        found, count = shelf.search_users(text, FOUND)
        return {"version": version, "found": found, "count": count}

    def product(self, item_id: str, *, k: int, version: int | None) -> Json:
        """An item of the shelf, the items most like it, and who will like it.

        Raises:
            BadInput: there is no such item.
        """
        shelf, version = self._shelf(version)
        item = shelf.item(item_id)
        if item is None:
            raise BadInput(f"There is no item {item_id!r} in version {version}.")
        client, k = self._client.at(version), _length(k)
        [similar] = client.similar_items([item_id], k=k)
        [audience] = client.audience([item_id], k=k)
        neighbours = zip(similar.item_ids, similar.scores, strict=True)
        return {
            "version": version,
            "item": item._asdict(),
            "neighbours": [
                _named(shelf, i)._asdict() | {"score": score} for i, score in neighbours
            ],
            "audience": _audience(shelf, audience.user_ids, audience.scores),
        }

    def new_product(
        self, title: str, *, category: str, brand: str, description: str, price: float | None,
        k: int, version: int | None,
    ) -> Json:  # fmt: skip
        """The same of a product that is only a text yet.

        Raises:
            BadInput: the title is empty.
        """
        if not title.strip():
            raise BadInput("A new product needs a title.")
        shelf, version = self._shelf(version)
        client, k = self._client.at(version), _length(k)
        product: dict[str, Any] = {
            "titles": [title], "categories": [category], "brands": [brand],
            "descriptions": [description], "prices": [math.nan if price is None else price],
        }  # fmt: skip
        [audience] = client.audience(**product, k=k)
        [vector] = client.embed_items(**product).vectors
        return {
            "version": version,
            "item": None,
            "neighbours": [i._asdict() | {"score": score} for i, score in shelf.nearest(vector, k)],
            "audience": _audience(shelf, audience.user_ids, audience.scores),
        }

    def customer(self, user: str, *, k: int, new_only: bool, version: int | None) -> Json:
        """What a customer bought, and the list with the reasons for each item.

        Raises:
            BadInput: the id is empty.
        """
        if not user.strip():
            raise BadInput("A list needs the id of a customer, known or not.")
        shelf, version = self._shelf(version)
        client = self._client.at(version)
        [ranking] = client.recommend([user], k=_length(k), new_only=new_only)
        items = ranking.item_ids
        reasons = client.explain([user] * len(items), items) if items else []
        history = shelf.history(user)
        listed = zip(items, ranking.scores, reasons, strict=True)
        return {
            "version": version,
            "user_id": user,
            "is_known": shelf.knows(user),
            "history": [item._asdict() for item in history[:_HISTORY]],
            "bought": len(history),
            "list": [
                _named(shelf, item)._asdict() | {"score": score, **_reasons(shelf, reason)}
                for item, score, reason in listed
            ],
        }

    def _shelf(self, version: int | None) -> tuple[ShelfReading, int]:
        """The shelf of a version, or of the newest that answers."""
        if version is None:
            loaded = _available(self._client)
            if not loaded:
                raise DebutError("The model server has no version that answers yet.")
            version = loaded[0]
        return self._shelves.of(version), version


def _available(client: Client) -> list[int]:
    return [entry.version for entry in client.status() if entry.is_available]


def _length(k: int) -> int:
    if not 1 <= k <= _LIST:
        raise BadInput(f"k is {k}; the console shows 1 to {_LIST}.")
    return k


def _named(shelf: ShelfReading, item_id: str) -> Item:
    return shelf.item(item_id) or Item(item_id, item_id, is_new=False, available=True, buyers=0)


def _audience(shelf: ShelfReading, users: Sequence[str], scores: Sequence[float]) -> list[Json]:
    found = []
    for user, score in zip(users, scores, strict=True):
        history = shelf.history(user)
        found.append(
            {
                "user_id": user,
                "score": score,
                "bought": len(history),
                "latest": [item.name for item in history[:_LATEST]],
            }
        )
    return found


def _reasons(shelf: ShelfReading, reason: Explanation) -> Json:
    """The strongest items and words, with their shares of what history or profile adds.

    And `rest`, the share that no word adds; null where no word is named.
    """
    total = reason.score - reason.base - reason.evidence
    words = [{"word": word, "share": share} for word, share in strongest(reason.words, total)]
    return {
        "because": [
            {"item_id": item, "name": _named(shelf, item).name, "share": share}
            for item, share in strongest(reason.history, total)
        ],
        "words": words,
        "rest": reason.rest / total if words else None,
    }
