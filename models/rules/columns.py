"""Columns of the shelf that rules make of items."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.rules.form import BackOffRule, Rules
from models.rules.names import Goods, Named
from models.rules.passing import let_through
from models.rules.spelling import category_path, folded

NO_GROUP: Final = -1
# Of a category tree: the nearest ones are looked at.
LEVELS: Final = 6
_ALWAYS: Final = np.iinfo(np.int64).max
_HASH_BYTES: Final = 7


@dataclass(frozen=True)
class Ruled:
    """Columns of the shelf for I items.

    Attributes:
        passes: bool [I], kept by all but the dates.
        first: int64 [I], unix seconds from which an item may be recommended.
        end: int64 [I], from which it may no longer.
        allowed: bool [I], all of that at the moment when the version was made.
        boost: float32 [I], logit.
        group: int64 [I], equal for items of a group, `NO_GROUP` for one without.
        level: int64 [I, `LEVELS`], of the category and of those above it, the nearest first,
            `NO_GROUP` behind the last; 0 wide where nothing backs off.
        backs_off: int32 [I], 0 for an item that speaks for itself; for another one how many items
            of a category must have been sold for it to speak for this one.
    """

    passes: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    allowed: npt.NDArray[np.bool_]
    boost: Floats
    group: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    backs_off: npt.NDArray[np.int32]


def rule(rules: Rules, goods: Goods, *, now: float) -> Ruled:
    """What rules mean for items.

    Args:
        rules: the file.
        goods: N items.
        now: unix seconds.
    """
    named = Named(goods)
    passes = np.ones(len(goods.item), np.bool_)
    for _, passing in let_through(rules, goods, named):
        passes &= passing
    first, end = np.zeros(len(passes), np.int64), np.full(len(passes), _ALWAYS)
    for dates in rules.dates:
        chosen = named(dates)
        if dates.first:
            first[chosen] = np.maximum(first[chosen], _midnight(dates.first))
        if dates.last:
            end[chosen] = np.minimum(end[chosen], _midnight(dates.last) + 24 * 3600)
    factor = np.ones(len(passes))
    for boost in rules.boosts:
        factor[named(boost)] *= boost.factor
    factor = factor.clip(*rules.boost_bounds)
    group = np.full(len(passes), NO_GROUP, np.int64)
    if rules.cap:
        group = np.array(
            [_code(text) for text in getattr(goods, rules.cap.group)], np.int64
        ).reshape(-1)
    level = np.zeros((len(passes), 0), np.int64)
    backs_off = np.zeros(len(passes), np.int32)
    if rules.back_off:
        tree = _Tree(rules.back_off)
        level = np.array([tree.levels(category) for category in goods.category], np.int64)
        level = level.reshape(-1, LEVELS)
        backs_off[goods.words < rules.back_off.words] = rules.back_off.least
    return Ruled(
        passes=passes,
        first=first,
        end=end,
        allowed=passes & on_day(first, end, now),
        boost=np.log(factor).astype(np.float32),
        group=group,
        level=level,
        backs_off=backs_off,
    )


def on_day(
    first: npt.NDArray[np.int64], end: npt.NDArray[np.int64], now: float
) -> npt.NDArray[np.bool_]:
    """Whether items may be recommended at a moment, as far as their dates say."""
    found: npt.NDArray[np.bool_] = (first <= now) & (now < end)
    return found


class _Tree:
    """What stands above each category; read once for all items, of which many share one."""

    def __init__(self, rule: BackOffRule) -> None:
        self._separator = rule.separator
        self._above = rule.above()
        self._known: dict[bytes, list[int]] = {}

    def levels(self, category: bytes) -> list[int]:
        """Codes of a category and of those above it, filled up with `NO_GROUP`."""
        if category not in self._known:
            codes = [_code(name.encode()) for name in self._path(category.decode())[:LEVELS]]
            self._known[category] = codes + [NO_GROUP] * (LEVELS - len(codes))
        return self._known[category]

    def _path(self, category: str) -> list[str]:
        path = category_path(category, self._separator)
        while path and (above := self._above.get(path[-1])):
            path += above
        return path


def _code(text: bytes) -> int:
    """A hash that a product added later has too."""
    name = folded(text.decode()).encode()
    digest = hashlib.blake2b(name, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big") if name else NO_GROUP


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
