"""Which split an interaction goes to, by hashes: independent of order, runner and other rows.

The draws are of ids, never of rows. An item keeps its side of the split when data is added, and so
does a user.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

from components.ingestion.options import DataOptions
from models.features import EVAL, NEW_ITEMS, TRAIN


class Event(NamedTuple):
    """One valid interaction of a user. The order of the fields is the order of events."""

    timestamp: int  # unix seconds
    item: str
    rating: float
    is_held_out: bool  # the item is held out as if it were new
    file: int
    demand: int = 0  # interactions of the item, in all splits
    propensity: float = 0.0  # of the item in the list that led to it, 0 where none was logged


def draw(salt: str, kind: str, key: str) -> float:
    """Returns a number in [0, 1), the first 32 bits of SHA-256 of `salt:kind:key`."""
    digest = hashlib.sha256(f"{salt}:{kind}:{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def is_held_out(options: DataOptions, item: str, group: str | None) -> bool:
    """Tells whether an item is held out as if new; a variant group shares one draw."""
    key = item if group is None else group
    return draw(options.split_salt, "item", key) < options.new_item_share


def split_events(options: DataOptions, user: str, events: Sequence[Event]) -> list[str]:
    """Returns the split of each of a user's events, given in order.

    Items held out go to NEW_ITEMS. Of a drawn user with at least 3 other items, the latest by their
    first events go to EVAL with all events of this user, the share rounded down but at least one:
    what a user has in TRAIN is in no list, and a model that learned of it would know the answer. An
    item may have all of its remaining events in EVAL; to know, one more join would be needed, and
    there is none.
    """
    others = list(dict.fromkeys(event.item for event in events if not event.is_held_out))
    tail = 0
    if len(others) >= 3 and draw(options.split_salt, "user", user) < options.eval_user_share:
        tail = max(1, math.floor(options.eval_tail_share * len(others)))
    latest = set(others[len(others) - tail :])
    return [
        NEW_ITEMS if event.is_held_out else EVAL if event.item in latest else TRAIN
        for event in events
    ]
