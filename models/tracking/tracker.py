"""The interface of everything that follows a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from models.arrays import Floats

Plain = bool | int | float | str


class ItemSpace(NamedTuple):
    """Items as points.

    Attributes:
        embedding: float32 [N, D].
        item_id: string [N].
        name: string [N].
        state: string [N], "seen" or "new".
    """

    embedding: Floats
    item_id: Sequence[str]
    name: Sequence[str]
    state: Sequence[str]


class Tracker(Protocol):
    """Follows one training, from its options to its results."""

    def options(self, values: Mapping[str, Plain]) -> None:
        """Notes the hyper-parameters, by `section.option`; once, before anything else."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Notes what was measured at a step."""

    def results(self, values: Mapping[str, float]) -> None:
        """Notes what the kept model came to, apart from any step."""

    def items(self, space: ItemSpace) -> None:
        """Shows the item space."""

    def close(self, *, failed: bool) -> None:
        """Ends the run, as failed where training was; what was noted is stored."""


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Plain]:
    """Nested options as `section.option`, without what is no plain value."""
    found: dict[str, Plain] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            found[f"{prefix}{name}"] = value
    return found
