"""What may not change when the shelf does, asked of a model before and after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Floats
from models.errors import Refused
from models.shelf.taken_in import FirstInteraction
from serving.client import Client

_USERS: Final = 32
_ITEMS: Final = 8
_TOLERANCE: Final = 1e-4
_LIST: Final = 100


class Answers(Protocol):
    """A model that can be asked, loaded here or in a server."""

    def scores(self, users: Sequence[str], items: Sequence[str]) -> Floats:
        """Of pairs of a user and an item, float32 [N]."""

    def lists(self, users: Sequence[str], k: int) -> list[list[str]]:
        """What is recommended to each user."""

    def alike(self, items: Sequence[str], k: int) -> list[list[str]]:
        """What is like each item."""


class Loaded:
    """Answers of a SavedModel in this process."""

    def __init__(self, model: Any) -> None:
        self._signatures = model.signatures

    def scores(self, users: Sequence[str], items: Sequence[str]) -> Floats:
        """As `Answers`."""
        answer = self._signatures["score"](**_nobody_says(users), item_id=tf.constant(list(items)))
        scores: Floats = answer["score"].numpy()
        return scores

    def lists(self, users: Sequence[str], k: int) -> list[list[str]]:
        """As `Answers`."""
        answer = self._signatures["recommend"](
            **_nobody_says(users), k=tf.constant(k), new_only=tf.constant(False)
        )
        return _decoded(answer)

    def alike(self, items: Sequence[str], k: int) -> list[list[str]]:
        """As `Answers`."""
        return _decoded(
            self._signatures["similar_items"](item_id=tf.constant(list(items)), k=tf.constant(k))
        )


class Served:
    """Answers of a model server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def scores(self, users: Sequence[str], items: Sequence[str]) -> Floats:
        """As `Answers`."""
        return np.array(self._client.score(users, items).scores, np.float32)

    def lists(self, users: Sequence[str], k: int) -> list[list[str]]:
        """As `Answers`."""
        return [list(ranking.item_ids) for ranking in self._client.recommend(users, k=k)]

    def alike(self, items: Sequence[str], k: int) -> list[list[str]]:
        """As `Answers`."""
        return [list(ranking.item_ids) for ranking in self._client.similar_items(items, k=k)]


class Gate:
    """Nothing changes for items that no file names; no purchase and no withdrawn item is offered.

    Scores are compared for users whose history stays what it was: another history, or another text
    in it, is a reason for other recommendations.
    """

    def __init__(
        self,
        before: Answers,
        *,
        users: Collection[str],
        items: Collection[str],
        named: Collection[str],
        touched: Collection[str],
        interactions: Sequence[FirstInteraction],
    ) -> None:
        """Ask the model before it is changed.

        Args:
            before: that model.
            users: that it knows.
            items: that it knows.
            named: items that change.
            touched: users with items in their history that change.
            interactions: that are to be taken in.
        """
        random = np.random.default_rng(0)
        known = set(users)
        pairs = {(one.user, one.item) for one in interactions if one.user in known}
        buyers = {user for user, _ in pairs}
        self._users = sorted(_some(random, known - buyers - set(touched), _USERS))
        self._buyers = sorted(_some(random, buyers, _USERS))
        self._items = _some(random, set(items) - set(named), _ITEMS)
        self._bought = pairs
        self._before = self._scores(before)

    def check(self, after: Answers, unavailable: Collection[str]) -> None:
        """Ask the model that would be pushed.

        Args:
            after: that model.
            unavailable: items that may not be recommended.

        Raises:
            Refused: an answer is not what it has to be.
        """
        scores = self._scores(after)
        change = float(np.abs(scores - self._before).max(initial=0.0))
        if not change <= _TOLERANCE:
            raise _refusal(
                f"the score of an item that no file names changed by {change:g} (refused above "
                f"{_TOLERANCE:g})"
            )
        # And somebody unknown, who is told the items in their order.
        asked = [*self._users, *self._buyers, ""]
        lists = dict(zip(asked, after.lists(asked, _LIST), strict=True))
        for user, items in lists.items():
            for item in items:
                if (user, item) in self._bought:
                    raise _refusal(f"it recommends item {item} to a user who has bought it")
        gone = set(unavailable)
        alike = after.alike(self._items, _LIST) if self._items else []
        for item in {item for items in [*lists.values(), *alike] for item in items} & gone:
            raise _refusal(f"it recommends item {item}, which is not available")

    def _scores(self, model: Answers) -> Floats:
        pairs = [(user, item) for user in self._users for item in self._items]
        if not pairs:
            return np.zeros(0, np.float32)
        users, items = zip(*pairs, strict=True)
        return model.scores(users, items)


def _refusal(why: str) -> Refused:
    return Refused(f"The gate refused the new version: {why}. Nothing was pushed.")


def _some(random: np.random.Generator, ids: Collection[str], most: int) -> list[str]:
    sorted_ids = sorted(ids)
    chosen: npt.NDArray[np.int64] = random.choice(
        len(sorted_ids), min(most, len(sorted_ids)), replace=False
    )
    return [sorted_ids[place] for place in chosen]


def _nobody_says(users: Sequence[str]) -> dict[str, tf.Tensor]:
    """Inputs that leave history and profile to what the model knows."""
    return {
        "user_id": tf.constant(list(users)),
        "history": tf.zeros([len(users), 0], tf.string),
        "profile": tf.fill([len(users)], ""),
    }


def _decoded(answer: dict[str, tf.Tensor]) -> list[list[str]]:
    return [[item.decode() for item in row if item] for row in answer["item_id"].numpy()]
