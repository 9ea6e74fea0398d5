"""Rules that no model can override: the file that states them, and what it means for each item.

The file is checked before anything is computed, and becomes columns of the shelf.
`models.export.ruled` applies them in the graph.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.arrays import Floats
from models.errors import BadInput

FILE: Final = Path("assets.extra", "rules.json")
_ALWAYS: Final = np.iinfo(np.int64).max
_HASH_BYTES: Final = 7
NO_GROUP: Final = -1
# Of a category tree: the nearest ones are looked at.
LEVELS: Final = 6


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Selection(_Part):
    """Items by their ids, categories or brands; those that any list names.

    Categories and brands are compared without regard to case.
    """

    items: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_something(self) -> Selection:
        if not (self.items or self.categories or self.brands):
            raise ValueError("names nothing; list items, categories or brands")
        return self


class PriceRule(_Part):
    """Bounds of the price, and whether an item without one passes."""

    min: float = Field(default=0.0, ge=0)
    max: float | None = Field(default=None, ge=0)
    unknown: bool = True

    @model_validator(mode="after")
    def _is_a_range(self) -> PriceRule:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; swap them")
        return self


class DateRule(Selection):
    """Days on which items may be recommended, the first and the last included; UTC."""

    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _is_a_time(self) -> DateRule:
        if self.first is None and self.last is None:
            raise ValueError("has neither first nor last; give a day such as 2026-12-01")
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"first {self.first} is after last {self.last}; swap them")
        return self


class BoostRule(Selection):
    """A factor on how likely items are chosen; 1 changes nothing."""

    factor: float = Field(ge=0.1, le=10)


class CapRule(_Part):
    """The most items of one group in a list."""

    group: Literal["category", "brand"]
    most: int = Field(ge=1)


class DiversityRule(_Part):
    """What an item loses for being like one that stands in the list before it, as a logit."""

    weight: float = Field(gt=0, le=20)


class BackOffRule(_Part):
    """Whom an item of few words is taken for: the items sold in its category.

    Where too few of the category are sold, those of the next category above it speak, by `parents`
    or by the path that the category's own text spells.
    """

    words: int = Field(default=2, ge=1)
    least: int = Field(default=5, ge=1)
    separator: str = Field(default=">", min_length=1)
    parents: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_a_tree(self) -> BackOffRule:
        above = {_name(child): _name(parent) for child, parent in self.parents.items()}
        for child in above:
            path = [child]
            while (parent := above.get(path[-1])) is not None:
                if parent in path:
                    raise ValueError(
                        f"parents lead from {child!r} back to {parent!r}; cut the ring"
                    )
                path.append(parent)
        return self


class Rules(_Part):
    """The whole file.

    An item that several boosts name gets the product of their factors, cut to `boost_bounds`. An
    item that several `dates` name must keep all of them.
    """

    block: Selection | None = None
    allow: Selection | None = None
    price: PriceRule | None = None
    dates: tuple[DateRule, ...] = ()
    boosts: tuple[BoostRule, ...] = ()
    boost_bounds: tuple[float, float] = (0.5, 2.0)
    new_share: float = Field(default=0.0, ge=0, le=1)
    cap: CapRule | None = None
    diversity: DiversityRule | None = None
    back_off: BackOffRule | None = None

    @model_validator(mode="after")
    def _bounds_are_a_range(self) -> Rules:
        low, high = self.boost_bounds
        if not 0.1 <= low <= 1 <= high <= 10:
            raise ValueError(
                f"boost_bounds are {low:g} and {high:g}; give two factors around 1, from 0.1 to 10"
            )
        return self

    def save(self, model: Path) -> None:
        """Write the rules beside a SavedModel."""
        (model / FILE).parent.mkdir(exist_ok=True)
        (model / FILE).write_text(self.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, model: Path) -> Rules | None:
        """Read the rules beside a SavedModel, None without any."""
        file = model / FILE
        return cls.model_validate_json(file.read_text("utf-8")) if file.is_file() else None


def read_rules(file: Path) -> Rules:
    """Read a file of rules.

    Raises:
        BadInput: it can't be read, or a rule is not one; names the place.
    """
    try:
        # Every value is a text to this loader, so that ids keep their leading zeros.
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"The rules {file} can't be read ({error}). Give a YAML file.") from error
    if not isinstance(content, dict):
        raise BadInput(f"The rules {file} must hold sections such as 'block:'.")
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"The rules {file} are not valid. {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for fault in error.errors():
        place, value = ".".join(map(str, fault["loc"])), fault["input"]
        shown = place if isinstance(value, dict | list | tuple) else f"{place} is {value!r}"
        message = f"{fault['msg'].removeprefix('Value error, ')}."
        problems.append(f"{shown}: {message}" if shown else message)
    return " ".join(problems)


class Goods(NamedTuple):
    """N items as rules look at them.

    Attributes:
        item: id as bytes, like the other texts.
        category: empty where it is unknown.
        brand: empty where it is unknown.
        price: float32, NaN where it is unknown.
        words: int64, of title and description.
    """

    item: npt.NDArray[np.object_]
    category: npt.NDArray[np.object_]
    brand: npt.NDArray[np.object_]
    price: Floats
    words: npt.NDArray[np.int64]


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
    named = _Named(goods)
    passes = np.ones(len(goods.item), np.bool_)
    if rules.block:
        passes &= ~named(rules.block)
    if rules.allow:
        passes &= named(rules.allow)
    if rules.price:
        unknown = np.isnan(goods.price)
        most = math.inf if rules.price.max is None else rules.price.max
        inside = (goods.price >= rules.price.min) & (goods.price <= most)
        passes &= np.where(unknown, rules.price.unknown, inside)
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
        level = np.array(
            [_levels(rules.back_off, category) for category in goods.category], np.int64
        ).reshape(-1, LEVELS)
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


class _Named:
    """Finds the items that a selection names."""

    def __init__(self, goods: Goods) -> None:
        self._columns = {
            "items": [item.decode() for item in goods.item],
            "categories": [_folded(text) for text in goods.category],
            "brands": [_folded(text) for text in goods.brand],
        }

    def __call__(self, selection: Selection) -> npt.NDArray[np.bool_]:
        """Bool [N]."""
        found = np.zeros(len(self._columns["items"]), np.bool_)
        for name, column in self._columns.items():
            texts = getattr(selection, name)
            wanted = set(texts) if name == "items" else {_folded(text.encode()) for text in texts}
            if wanted:
                found |= np.fromiter((one in wanted for one in column), np.bool_, len(column))
        return found


def _folded(text: bytes) -> str:
    return _name(text.decode())


def _name(text: str) -> str:
    return text.strip().casefold()


def _levels(rule: BackOffRule, category: bytes) -> list[int]:
    """Codes of a category and of those above it, filled up with `NO_GROUP`."""
    steps = [_name(step) for step in category.decode().split(rule.separator)]
    steps = [step for step in steps if step]
    path = [rule.separator.join(steps[:end]) for end in range(len(steps), 0, -1)]
    above = {_name(child): _name(parent) for child, parent in rule.parents.items()}
    while path and (parent := above.get(path[-1])):
        path.append(parent)
    codes = [_code(name.encode()) for name in path[:LEVELS]]
    return codes + [NO_GROUP] * (LEVELS - len(codes))


def _code(text: bytes) -> int:
    """A hash that a product added later has too."""
    name = _folded(text).encode()
    digest = hashlib.blake2b(name, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big") if name else NO_GROUP


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
