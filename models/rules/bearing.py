"""How rules bear on a catalogue: how many items each names, and whether any is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from models.errors import BadInput
from models.rules.columns import NO_GROUP, rule
from models.rules.form import BackOffRule, PriceRule, Rules, Selection
from models.rules.names import Goods, Named
from models.rules.passing import let_through, within
from models.section import Section

_SHOWN: Final = 3  # of the names that no item has


def require_something(
    rules: Rules | None, goods: Goods, available: npt.NDArray[np.bool_], *, now: float
) -> None:
    """Check that a catalogue and its rules leave anything to recommend.

    Args:
        rules: the file, None without one.
        goods: N items.
        available: bool [N], whether each is on sale.
        now: unix seconds.

    Raises:
        BadInput: they don't; names the column, or the rule after which nothing is left.
    """
    if not available.any():
        raise BadInput(
            f"There is nothing to recommend: of {len(available):,} items none is available. "
            "Correct the column available of items in the data folder."
        )
    if rules is None:
        return
    left, named = available, Named(goods)
    of = int(available.sum())
    for place, passing in let_through(rules, goods, named):
        left = left & passing
        if not left.any():
            allow = rules.allow if place == "allow" else None
            unknown = ", ".join(named.unknown(allow)[:_SHOWN]) if allow else ""
            said = f", of whose names no item has {unknown}" if unknown else ""
            raise _nothing_left(f"`{place}`{said}", of=of)
    if not (available & rule(rules, goods, now=now).allowed).any():
        raise _nothing_left("`dates` as of today, UTC", of=of)


def _nothing_left(after: str, *, of: int) -> BadInput:
    return BadInput(
        f"The rules leave nothing to recommend: none of {of:,} available items is left after "
        f"{after}. Correct that rule in the file that rules.file names."
    )


class RuleCount(BaseModel):
    """How a rule bears on a catalogue.

    Attributes:
        rule: its place in the file, such as `dates.0`.
        numbers: what it states beside names, such as `factor 1.5`.
        items: how many it names; how many `price` shuts out, and how many `back_off` takes for
            their category; None where a rule is about whole lists.
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
        about = "shuts out" if self.rule == "price" else "items"
        counted = "" if self.items is None else f"{about} {self.items:,}"
        unknown = f"unknown names {self.unknown:,}" if self.unknown else ""
        return f"{self.rule} ({', '.join(filter(None, (self.numbers, counted, unknown)))})"

    @property
    def warning(self) -> str | None:
        """What to say of names that no item has; None without any."""
        if not self.unknown:
            return None
        more = f" and {self.unknown - len(self.such_as):,} more"
        shown = ", ".join(self.such_as) + (more if self.unknown > len(self.such_as) else "")
        return f"Rule {self.rule}: no item has {shown}."


def count_rules(rules: Rules, goods: Goods, lends: npt.NDArray[np.bool_]) -> list[RuleCount]:
    """How each rule bears on N items.

    Args:
        rules: the file.
        goods: N items.
        lends: bool [N], which ones others inherit from; these never back off.
    """
    named = Named(goods)
    found = []
    for place, part in _parts(rules):
        items, unknown = None, []
        if isinstance(part, Selection):
            items, unknown = int(named(part).sum()), named.unknown(part)
        elif isinstance(part, PriceRule):
            items = int((~within(part, goods.price)).sum())
        elif isinstance(part, BackOffRule):
            items = _taken_for_category(rules, goods, lends, least=part.least)
        found.append(
            RuleCount(
                rule=place, numbers=_numbers(part), items=items,
                unknown=len(unknown), such_as=tuple(unknown[:_SHOWN]),
            )
        )  # fmt: skip
    return found


def _taken_for_category(
    rules: Rules, goods: Goods, lends: npt.NDArray[np.bool_], *, least: int
) -> int:
    """How many items of few words stand in a category, or below one, that speaks for them."""
    ruled = rule(rules, goods, now=0.0)
    members = Counter(code for levels in ruled.level[lends].tolist() for code in set(levels))
    speaks = [code for code, count in members.items() if code != NO_GROUP and count >= least]
    backs_off = ~lends & (ruled.backs_off > 0)
    return int(np.isin(ruled.level[backs_off], speaks).any(axis=1).sum())


def _parts(rules: Rules) -> Iterator[tuple[str, Section | float]]:
    """The rules that a file states, by their places in it."""
    for name in type(rules).model_fields:
        value = getattr(rules, name)
        if name == "boost_bounds" or not value:
            continue
        if isinstance(value, tuple):
            yield from ((f"{name}.{place}", part) for place, part in enumerate(value))
        else:
            yield name, value


def _numbers(part: Section | float) -> str:
    if not isinstance(part, Section):
        return f"{part:g}"
    names = {*Selection.model_fields, "parents"}
    told = part.model_dump(mode="json", exclude=names, exclude_none=True)
    return ", ".join(f"{name} {_plain(value)}" for name, value in told.items())


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
