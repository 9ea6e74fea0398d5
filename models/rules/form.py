"""What a file of rules may state: `Rules` and its parts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from models.rules.spelling import category_path, folded
from models.section import Section

FILE: Final = Path("assets.extra", "rules.json")


def _filled(name: str) -> str:
    if not name.strip():
        # An item without a brand would be of it.
        raise ValueError("is blank; give a name, or leave the entry out")
    return name


Name = Annotated[str, AfterValidator(_filled)]


class Selection(Section):
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


class PriceRule(Section):
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


class CapRule(Section):
    """The most items of one group in a list."""

    group: Literal["category", "brand"]
    most: int = Field(ge=1)


class DiversityRule(Section):
    """What an item loses for being like one that stands in the list before it, as a logit."""

    weight: float = Field(gt=0, le=20)


class BackOffRule(Section):
    """Whom an item of few words is taken for: the items sold in its category.

    Where too few of the category are sold, those of the next category above it speak, by `parents`
    or by the path that the category's own text spells. A parent may spell its path too.
    """

    words: int = Field(default=2, ge=1)
    least: int = Field(default=5, ge=1)
    separator: str = Field(default=">", min_length=1)
    parents: dict[Name, Name] = Field(default={})

    @model_validator(mode="after")
    def _is_a_tree(self) -> BackOffRule:
        above = self.above()
        for child in above:
            path = [child]
            while parents := above.get(path[-1]):
                for parent in parents:
                    if parent in path:
                        raise ValueError(
                            f"parents lead from {child!r} back to {parent!r}; cut the ring"
                        )
                path += parents
        return self

    def above(self) -> dict[str, list[str]]:
        """Of a category what `parents` states above it, the nearest first, as they are compared."""
        return {
            folded(child): category_path(parent, self.separator)
            for child, parent in self.parents.items()
        }


class Rules(Section):
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
