"""What the served model promised each user of a logged list, without exploration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.exploration.lists import SeenList
from models.arrays import Doubles, Floats
from models.exploration.bandit import Feedback
from models.exploration.exploration import OUT
from models.sampling import at_most

_BATCH: Final = 64
_PROMISES: Final = 1 << 28  # that are kept of the lists that judge, float32: 1 GB


class Observed(NamedTuple):
    """T places of L lists that had one of N new items.

    Attributes:
        feedback: of these places.
        of: int64 [T], number of the list.
        propensity: float64 [T].
        user: int64 [L], number of the user who saw a list.
        is_judge: bool [L], see `SeenList`.
        judge: int64 [J], numbers of the lists that judge and explore, rising; of very many a
            sample.
        promise: float32 [J, N], what these users were promised of all new items; 0 for what could
            not stand on an explored place.
    """

    feedback: Feedback
    of: npt.NDArray[np.int64]
    propensity: Doubles
    user: npt.NDArray[np.int64]
    is_judge: npt.NDArray[np.bool_]
    judge: npt.NDArray[np.int64]
    promise: Floats

    @property
    def is_explored(self) -> npt.NDArray[np.bool_]:
        """Which of the places chance filled: bool [T]."""
        return self.propensity < 1.0

    @property
    def impressions(self) -> npt.NDArray[np.int64]:
        """How often chance has shown each new item: int64 [N]."""
        return np.bincount(self.feedback.item[self.is_explored], minlength=self.promise.shape[1])


def observe(model: Any, lists: Sequence[SeenList], new: Sequence[str]) -> Observed:
    """Ask a model for the scores of all new items, for the user of each list.

    Args:
        model: a loaded SavedModel that explores nothing.
        lists: any; those without a new item tell nothing.
        new: ids of the N new items.
    """
    place_of = {item: place for place, item in enumerate(new)}
    asked = [
        number
        for number, seen in enumerate(lists)
        if any(shown.item in place_of for shown in seen.items)
    ]
    judge = at_most(
        np.array([number for number in asked if _judges(lists[number])], np.int64),
        _PROMISES // max(len(new), 1),
    )
    row_of = {number: row for row, number in enumerate(judge.tolist())}
    promises = np.zeros((len(judge), len(new)), np.float32)
    parts = [np.zeros((0, 5))]
    for start in range(0, len(asked), _BATCH):
        numbers = asked[start : start + _BATCH]
        batch = [lists[number] for number in numbers]
        rows: list[tuple[int, int, float, float, float]] = []
        for number, seen, scores in zip(numbers, batch, _scores(model, batch, place_of),
                                        strict=True):  # fmt: skip
            shares = np.exp(scores - scores.max(), dtype=np.float64)
            shares /= shares.sum()
            kept = []
            for shown in seen.items:
                place = place_of.get(shown.item)
                if place is not None:
                    is_reward = float(shown.item in seen.rewarded)
                    rows.append((number, place, shares[place], is_reward, shown.propensity))
                    kept += [place] if shown.propensity == 1.0 else []
            if number in row_of:
                shares[kept] = 0.0
                promises[row_of[number]] = shares
        parts.append(np.array(rows, np.float64))
    of, item, promise, reward, propensity = np.concatenate(parts).T
    return Observed(
        feedback=Feedback(item.astype(np.int64), promise, reward),
        of=of.astype(np.int64),
        propensity=propensity,
        user=np.array([seen.user_number for seen in lists], np.int64),
        is_judge=np.array([seen.is_judge for seen in lists], bool),
        judge=judge,
        promise=promises,
    )


def _judges(seen: SeenList) -> bool:
    """Whether a list tells how good a policy is: chance filled places of it, and it taught none."""
    return seen.is_judge and any(shown.propensity < 1.0 for shown in seen.items)


def _scores(model: Any, lists: Sequence[SeenList], place_of: dict[str, int]) -> Floats:
    """Of the new items for the lists' users, `OUT` for what a list may not hold: [B, N]."""
    answer = model.signatures["recommend"](
        **_users(lists), k=tf.constant(len(place_of)), new_only=tf.constant(True)
    )
    scores = np.full((len(lists), len(place_of)), np.float32(OUT))
    for row, (items, found) in enumerate(
        zip(answer["item_id"].numpy(), answer["score"].numpy(), strict=True)
    ):
        for item, score in zip(items, found, strict=True):
            if item:
                scores[row, place_of[item.decode()]] = score
    # What was shown and bought is no candidate any more, where the model was told of the purchase.
    missing = [
        (row, place_of[shown.item])
        for row, seen in enumerate(lists)
        for shown in seen.items
        if shown.item in place_of and scores[row, place_of[shown.item]] == OUT
    ]
    if missing:
        ids = list(place_of)
        answer = model.signatures["score"](
            **_users([lists[row] for row, _ in missing]),
            item_id=tf.constant([ids[place] for _, place in missing]),
        )
        scores[tuple(np.array(missing).T)] = answer["score"].numpy()
    return scores


def _users(lists: Sequence[SeenList]) -> dict[str, tf.Tensor]:
    width = max(len(seen.history) for seen in lists)
    history = [[*seen.history, *[""] * (width - len(seen.history))] for seen in lists]
    return {
        "user_id": tf.constant([seen.user for seen in lists]),
        "history": tf.constant(history, tf.string, [len(lists), width]),
        "profile": tf.fill([len(lists)], ""),
    }
