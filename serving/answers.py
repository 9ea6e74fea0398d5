"""What a model server's answers say, as plain Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ranking:
    """A list of items, best first, with their scores.

    Attributes:
        item_ids: the items.
        scores: one for each item; NaN where no model scored it.
        version: version of the model that answered; None for a fallback list, which no model made.
        propensities: chance with which each item came into the list; None where the model doesn't
            say. They belong into the feedback log.
    """

    item_ids: list[str]
    scores: list[float]
    version: int | None
    propensities: list[float] | None = None

    @property
    def is_fallback(self) -> bool:
        """Whether the list is the client's own, because no server answered in time."""
        return self.version is None


@dataclass(frozen=True)
class Audience:
    """The users for an item or a product, best first, with their scores; of different users."""

    user_ids: list[str]
    scores: list[float]
    version: int


@dataclass(frozen=True)
class Explanation:
    """What a score is made of.

    Attributes:
        score: as `score` answers it; `base`, `evidence` and those of `history` together.
        base: of an item that nothing speaks for; for somebody whose history tells nothing, of its
            place in the list for somebody unknown.
        evidence: what the item's first interactions say to this user.
        history: items of the user's history with what each adds, in their order.
        words: words of the item with what each adds; with `rest` they sum up to the history's sum,
            or for somebody without history to what the profile adds.
        rest: what no word adds.
        version: of the model that answered.
    """

    score: float
    base: float
    evidence: float
    history: list[tuple[str, float]]
    words: list[tuple[str, float]]
    rest: float
    version: int


@dataclass(frozen=True)
class Scores:
    """Predicted ratings in [0, 1] and ranking scores, one of each per pair asked for."""

    ratings: list[float]
    scores: list[float]
    version: int


@dataclass(frozen=True)
class Embeddings:
    """One embedding per row: lists of floats, nested as deep as the model's output."""

    vectors: list[Any]
    version: int


@dataclass(frozen=True)
class VersionStatus:
    """A version's number, its state by name, and its error (empty where it has none)."""

    version: int
    state: str
    error: str

    @property
    def is_available(self) -> bool:
        """Whether it answers."""
        return self.state == "AVAILABLE"


@dataclass(frozen=True)
class TensorSpec:
    """Dtype by name and shape, -1 for any size; None for any rank."""

    dtype: str
    shape: list[int] | None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
