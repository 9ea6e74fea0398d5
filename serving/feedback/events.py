"""What the feedback log holds: impressions, clicks and purchases.

An event is one JSON object, checked before it is written and when it is read. Users stand in it as
pseudonyms only.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.errors import BadInput

_END_OF_TIME: Final = 4_102_444_800  # 2100-01-01: what lies beyond is in milliseconds, not seconds
_Time = Annotated[float, Field(ge=0, lt=_END_OF_TIME, allow_inf_nan=False)]


def _not_blank(value: str) -> str:
    if value.isspace():
        raise ValueError("an id of blanks only")
    return value


# As in a data folder, which a log becomes a span of.
_Id = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    AfterValidator(_not_blank),
]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time: _Time  # unix seconds
    user: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of `models.pseudonyms`


class Shown(BaseModel):
    """One place of a list.

    Attributes:
        item: its id.
        propensity: probability with which the policy that made the list put this item into it; 1
            for a list that is always the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: _Id
    propensity: float = Field(gt=0, le=1)


def _each_once(items: tuple[Shown, ...]) -> tuple[Shown, ...]:
    # A propensity is the chance of being in the list, and what an item earned there is one reward.
    if len({shown.item for shown in items}) < len(items):
        raise ValueError("an item stands twice; a list has each once")
    return items


class Impression(_Event):
    """A list that a user saw, best first.

    Attributes:
        list: an id of the list, which clicks and purchases refer to.
        version: of the model that made it, None for the client's fallback list.
        items: what was shown, each once.
        history: item ids that the request gave, oldest first; empty where it left the user's own.
    """

    event: Literal["impression"] = "impression"
    list: _Id
    version: int | None
    items: Annotated[tuple[Shown, ...], Field(min_length=1), AfterValidator(_each_once)]
    history: tuple[_Id, ...] = ()


class Action(_Event):
    """A user clicked or bought an item.

    Attributes:
        item: its id.
        list: of the impression that it came from, None where it came from elsewhere.
    """

    event: Literal["click", "purchase"]
    item: _Id
    list: _Id | None = None


Event = Impression | Action
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(line: bytes) -> Event:
    """Read one line of a log.

    Raises:
        BadInput: it is no event; the message names the field and not its value.
    """
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole line"
        raise BadInput(f"{field}: {first['msg']}") from error
