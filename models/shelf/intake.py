"""Takes first interactions into a loaded SavedModel: new values for columns of the shelf.

Nothing is traced or trained. The arithmetic is the model's own signature `adapt_items`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.interactions import PAD
from models.shelf.buyers import index_buyers_on
from models.shelf.taken_in import NOTHING, FirstInteraction, TakenIn, pair_of

_BATCH: Final = 512
# Interactions that are asked about together, with padding: each of a known user takes four times
# float32 [A] while it is heard. An item with more of them is heard in parts.
_HEARD: Final = 1 << 14
# Columns that the evidence of one item fills, of those that `adapt_items` answers.
_ANSWERED: Final = ("count", "time", "lift", "attention", "weight")
# By the names of columns of the shelf.
NewValues = dict[str, npt.NDArray[Any]]
Groups = dict[int, list[FirstInteraction]]


class Intake(NamedTuple):
    """What taking in changes.

    Attributes:
        columns: new values by the name of the column, such as "user_items" or "evidence.row".
        adapted: rows int64 [n] of the items that were adapted.
        of_training: rows int64 [m] of those that were not, because training knew them.
        pairs: int64 [p, 2], rows of known users and of items that are purchases from now on.
        fresh: the interactions that were not taken in before.
    """

    columns: NewValues
    adapted: npt.NDArray[np.int64]
    of_training: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    fresh: list[FirstInteraction]


def take_in(
    model: Any,
    users: Sequence[str],
    interactions: Sequence[FirstInteraction],
    *,
    before: TakenIn = NOTHING,
    again: Iterable[int] = (),
) -> Intake:
    """Compute the new columns; `assign` puts them on the shelf.

    Of an item with very many interactions the first parts are put there already.

    Args:
        model: a loaded SavedModel.
        users: ids of the users that the model knows, in order of rows.
        interactions: with items on the shelf.
        before: those that the model has taken in, which change nothing when they come again.
        again: rows of items with evidence whose texts changed.
    """
    interactions = before.fresh(interactions)
    shelf = model._shelf
    ids = [item.decode() for item in shelf.item_id.numpy()]
    row_of = {item: row for row, item in enumerate(ids)}
    by_row: Groups = {row: [] for row in again}
    for interaction in interactions:
        by_row.setdefault(row_of[interaction.item], []).append(interaction)
    if not by_row:
        none = np.zeros(0, np.int64)
        return Intake({}, none, none, np.zeros((0, 2), np.int64), interactions)
    # The shelf keeps sums, and purchases come last: parts give the same as all at once.
    *parts, last = _parts(by_row)
    for part in parts:
        assign(model, _heard(model, ids, part)[0])
    columns, row, chosen = _heard(model, ids, last)
    user_of = {user: place for place, user in enumerate(users)}
    latest = _latest(one for one in interactions if one.user in user_of)
    pairs = np.array(
        [(user_of[one.user], row_of[one.item]) for one in latest], np.int64
    ).reshape(-1, 2)  # fmt: skip
    return Intake(
        columns=columns | _purchases(shelf, pairs, latest, before.latest()),
        adapted=row[chosen],
        of_training=row[~chosen],
        pairs=pairs,
        fresh=interactions,
    )


def assign(model: Any, columns: NewValues) -> None:
    """Put new values of columns on a loaded model's shelf."""
    for name, values in columns.items():
        attrgetter(name)(model._shelf).assign(values)


def _parts(by_row: Groups) -> Iterator[Groups]:
    """Interactions by row of their item, of none too many to be heard; all items in the last."""
    most = max(map(len, by_row.values()))
    for begin in reversed(range(0, max(most, 1), _HEARD)):
        yield {
            row: group[begin : begin + _HEARD]
            for row, group in by_row.items()
            if begin == 0 or len(group) > begin
        }


def _heard(
    model: Any, ids: Sequence[str], by_row: Groups
) -> tuple[NewValues, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The columns with what interactions say; the items' rows int64 [n], and who was adapted."""
    # Items with about as many interactions share a batch, which saves padding.
    rows = sorted(by_row, key=lambda row: (len(by_row[row]), row))
    parts = [
        _adapt(model, {ids[row]: by_row[row] for row in rows[some]})
        for some in _batches([len(by_row[row]) for row in rows])
    ]
    answer = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    chosen, row = answer["is_adapted"], np.array(rows, np.int64)
    adapted = {name: column[chosen] for name, column in answer.items()}
    return _adapted_columns(model._shelf, row[chosen], adapted), row, chosen


def _batches(counts: Sequence[int]) -> Iterator[slice]:
    """Items to ask about together, by their numbers of interactions, which rise; at least one."""
    begin = 0
    for end, count in enumerate(counts):
        if end > begin and (end - begin == _BATCH or (end - begin + 1) * count > _HEARD):
            yield slice(begin, end)
            begin = end
    yield slice(begin, len(counts))


def _adapt(model: Any, groups: dict[str, list[FirstInteraction]]) -> NewValues:
    """Ask `adapt_items` for items, each with its interactions."""
    width = max(map(len, groups.values()))

    def table(name: str, fill: object, dtype: tf.DType) -> tf.Tensor:
        rows = [
            [getattr(interaction, name) for interaction in group] + [fill] * (width - len(group))
            for group in groups.values()
        ]
        return tf.constant(rows, dtype, [len(groups), width])

    answer = model.signatures["adapt_items"](
        item_id=tf.constant(list(groups)),
        user_id=table("user", "", tf.string),
        timestamp=table("timestamp", 0, tf.int64),
        rating=table("rating", 1.0, tf.float32),
    )
    return {name: values.numpy() for name, values in answer.items()}


def _adapted_columns(shelf: Any, rows: npt.NDArray[np.int64], answer: NewValues) -> NewValues:
    """The columns with the answers for some rows in their places, new ones at the end."""
    heard = shelf.evidence
    place_of, known = heard.of.numpy(), len(heard.row.numpy())
    embedding, demand = shelf.embedding.numpy(), shelf.served.demand.numpy()
    place = place_of[rows]
    first = place == PAD
    place[first] = known + np.arange(first.sum())
    columns: NewValues = {
        "evidence.row": np.concatenate([heard.row.numpy(), rows[first]]).astype(np.int32),
        # What the text alone gives is kept when an item gets its first evidence.
        "evidence.text": np.concatenate(
            [heard.text.numpy(), embedding[rows[first]].astype(np.float32)]
        ),
    }
    for name in _ANSWERED:
        column = getattr(heard, name).numpy()
        more = np.zeros((int(first.sum()), *column.shape[1:]), column.dtype)
        column = np.concatenate([column, more])
        column[place] = answer[name]
        columns[f"evidence.{name}"] = column
    place_of[rows] = place
    embedding[rows], demand[rows] = answer["embedding"], answer["demand"]
    return columns | {"evidence.of": place_of, "embedding": embedding, "served.demand": demand}


def _latest(interactions: Iterable[FirstInteraction]) -> list[FirstInteraction]:
    """The last one of each user and item, of several at one second the highest; oldest first."""
    found: dict[tuple[str, str], FirstInteraction] = {}
    for one in sorted(interactions, key=lambda one: (one.timestamp, one.rating)):
        found.pop((one.user, one.item), None)
        found[one.user, one.item] = one
    return list(found.values())


def _purchases(
    shelf: Any,
    pairs: npt.NDArray[np.int64],
    latest: Sequence[FirstInteraction],
    before: Mapping[int, int],
) -> NewValues:
    """The users' purchases with further ones, each user's newest last.

    What a user has already goes from its old place, unless that may be the later one: all that is
    known of the time of what training saw is when the data end.

    Args:
        shelf: of a loaded SavedModel.
        pairs: int64 [p, 2], rows of users and items.
        latest: interactions of these.
        before: when those that were taken in came last, by `pair_of`.
    """
    items, offset = shelf.user_items.numpy(), shelf.user_offset.numpy()
    rating, end_of_data = shelf.user_rating.numpy(), int(shelf.evidence.clock_time.numpy()[-1])
    # Of these users alone: a run takes in a few rows, and the shelf holds those of years.
    place = np.array(
        [_place(items, offset[user], offset[user + 1], item) for user, item in pairs.tolist()],
        np.int64,
    )
    is_there = place != PAD
    is_later = np.array(
        [one.timestamp > before.get(pair_of(one), end_of_data) for one in latest], bool
    )
    gone, new = is_there & is_later, ~is_there | is_later
    items, rating = np.delete(items, place[gone]), np.delete(rating, place[gone])
    offset[1:] -= np.cumsum(np.bincount(pairs[gone, 0], minlength=len(offset) - 1))
    user, item = pairs[new].T
    end = offset[user + 1]
    items = np.insert(items, end, item)
    rating = np.insert(rating, end, np.array([one.rating for one in latest], np.float32)[new])
    offset[1:] += np.cumsum(np.bincount(user, minlength=len(offset) - 1))
    buyers = index_buyers_on(shelf, items, offset)
    return {
        "user_items": items,
        "user_rating": rating,
        "user_offset": offset,
        # A model that an older Debut trained has fewer columns.
        **{
            f"buyers.{field.name}": getattr(buyers, field.name)
            for field in fields(buyers)
            if hasattr(shelf.buyers, field.name)
        },
    }


def _place(items: npt.NDArray[np.int32], begin: int, end: int, item: int) -> int:
    """Where an item stands among a user's; PAD where it doesn't."""
    [found] = np.nonzero(items[begin:end] == item)
    return int(begin + found[0]) if len(found) else PAD
