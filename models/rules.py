"""Rules that no model can override: the file that states them, and what it means for each item.

The file is checked before anything is computed, and becomes columns of the shelf.
`models.export.ruled` applies them in the graph.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from models.arrays import Floats
from models.errors import BadInput

FILE: Final = Path("assets.extra", "rules.json")
_ALWAYS: Final = np.iinfo(np.int64).max
_HASH_BYTES: Final = 7
NO_GROUP: Final = -1
# Of a category tree: the nearest ones are looked at.
LEVELS: Final = 6
_SHOWN: Final = 3  # of the names that no item has


def _filled(name: str) -> str:
    if not name.strip():
        # An item without a brand would be of it.
        raise ValueError("is blank; give a name, or leave the entry out")
    return name


Name = Annotated[str, AfterValidator(_filled)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Selection(_Part):
    """Items by their ids, categories or brands; those that any list names.

    Names are compared in Unicode's form NFC, categories and brands without regard to case.
    """

    items: tuple[Name, ...] = ()
    categories: tuple[Name, ...] = ()
    brands: tuple[Name, ...] = ()

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
    parents: dict[Name, Name] = {}

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


class _Loader(yaml.BaseLoader):
    """Takes every value for a text, so that ids keep their leading zeros, and each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1} says {key.value!r} a second time; put what "
                    "belongs to it together"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_rules(file: Path) -> Rules:
    """Read a file of rules.

    Raises:
        BadInput: it can't be read, or a rule is not one; names the place.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
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
    for _, passing in _let_through(rules, goods, named):
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


def require_something(rules: Rules, goods: Goods, *, now: float) -> None:
    """Check that the rules leave anything to recommend.

    Raises:
        BadInput: they don't; names the rule after which nothing is left.
    """
    left, named = np.ones(len(goods.item), np.bool_), _Named(goods)
    for place, passing in _let_through(rules, goods, named):
        left &= passing
        if not left.any():
            allow = rules.allow if place == "allow" else None
            unknown = ", ".join(named.unknown(allow)[:_SHOWN]) if allow else ""
            said = f", of whose names no item has {unknown}" if unknown else ""
            raise _nothing_left(f"`{place}`{said}", of=len(left))
    if not rule(rules, goods, now=now).allowed.any():
        raise _nothing_left("`dates` as of today, UTC", of=len(left))


def _nothing_left(after: str, *, of: int) -> BadInput:
    return BadInput(
        f"The rules leave nothing to recommend: none of {of:,} items is left after {after}. "
        "Correct that rule in the file that rules.file names."
    )


class RuleCount(BaseModel):
    """How a rule bears on a catalogue.

    Attributes:
        rule: its place in the file, such as `dates.0`.
        numbers: what it states beside names, such as `factor 1.5`.
        items: how many it names; how many `price` shuts out, and how many back off; None where a
            rule is about whole lists.
        unknown: how many of its names no item has.
        such_as: the first of these.
    """

    rule: str
    numbers: str
    items: int | None
    unknown: int = 0
    such_as: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The rule with its numbers, as a line of a list."""
        counted = "" if self.items is None else f"{self.items:,} items"
        unknown = f"{self.unknown:,} names that no item has" if self.unknown else ""
        return f"{self.rule} ({', '.join(filter(None, (self.numbers, counted, unknown)))})"

    @property
    def warning(self) -> str | None:
        """What to say of names that no item has; None without any."""
        if not self.unknown:
            return None
        more = f" and {self.unknown - len(self.such_as):,} more"
        shown = ", ".join(self.such_as) + (more if self.unknown > len(self.such_as) else "")
        return f"Rule {self.rule}: no item has {shown}."


def count_rules(rules: Rules, goods: Goods) -> list[RuleCount]:
    """How each rule bears on N items."""
    named = _Named(goods)
    found = []
    for place, part in _parts(rules):
        items, unknown = None, []
        if isinstance(part, Selection):
            items, unknown = int(named(part).sum()), named.unknown(part)
        elif isinstance(part, PriceRule):
            items = int((~_within(part, goods.price)).sum())
        elif isinstance(part, BackOffRule):
            items = int((goods.words < part.words).sum())
        found.append(
            RuleCount(
                rule=place, numbers=_numbers(part), items=items,
                unknown=len(unknown), such_as=tuple(unknown[:_SHOWN]),
            )
        )  # fmt: skip
    return found


def _parts(rules: Rules) -> Iterator[tuple[str, _Part | float]]:
    """The rules that a file states, by their places in it."""
    for name in type(rules).model_fields:
        value = getattr(rules, name)
        if name == "boost_bounds" or not value:
            continue
        if isinstance(value, tuple):
            yield from ((f"{name}.{place}", part) for place, part in enumerate(value))
        else:
            yield name, value


def _numbers(part: _Part | float) -> str:
    if not isinstance(part, _Part):
        return f"{part:g}"
    names = {*Selection.model_fields, "parents"}
    told = part.model_dump(mode="json", exclude=names, exclude_none=True)
    return ", ".join(f"{name} {_plain(value)}" for name, value in told.items())


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _let_through(
    rules: Rules, goods: Goods, named: _Named
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """What each rule about items lets through whatever the day: its name, and bool [N]."""
    if rules.block:
        yield "block", ~named(rules.block)
    if rules.allow:
        yield "allow", named(rules.allow)
    if rules.price:
        yield "price", _within(rules.price, goods.price)


def _within(rule: PriceRule, price: Floats) -> npt.NDArray[np.bool_]:
    most = math.inf if rule.max is None else rule.max
    inside = (price >= rule.min) & (price <= most)
    found: npt.NDArray[np.bool_] = np.where(np.isnan(price), rule.unknown, inside)
    return found


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
            "items": [_composed(item.decode()) for item in goods.item],
            "categories": [_folded(text) for text in goods.category],
            "brands": [_folded(text) for text in goods.brand],
        }

    def __call__(self, selection: Selection) -> npt.NDArray[np.bool_]:
        """Bool [N]."""
        found = np.zeros(len(self._columns["items"]), np.bool_)
        for name, column in self._columns.items():
            if wanted := _wanted(selection, name).keys():
                found |= np.fromiter((one in wanted for one in column), np.bool_, len(column))
        return found

    def unknown(self, selection: Selection) -> list[str]:
        """Names of a selection that no item has, as they are written."""
        missing: list[str] = []
        for name, column in self._columns.items():
            wanted = _wanted(selection, name)
            missing += [wanted[one] for one in wanted.keys() - set(column)] if wanted else []
        return sorted(missing)


def _wanted(selection: Selection, column: str) -> dict[str, str]:
    """The names of a selection, as they are compared and as they are written."""
    read = _composed if column == "items" else _name
    return {read(text): text for text in getattr(selection, column)}


def _folded(text: bytes) -> str:
    return _name(text.decode())


def _name(text: str) -> str:
    return _composed(text).strip().casefold()


def _composed(text: str) -> str:
    # Which of a letter and its accent's two spellings a text has, nobody sees.
    return unicodedata.normalize("NFC", text)


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
