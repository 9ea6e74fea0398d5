"""Which interactions a version has taken in since its training, so that none counts twice.

The shelf keeps sums of them. The file beside the model keeps what tells them apart: a hash of the
user and the item, and the time. Model servers don't read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FILE: Final = Path("assets.extra", "taken_in.npz")


class FirstInteraction(NamedTuple):
    """One interaction with an item that is on the shelf."""

    item: str
    user: str
    timestamp: int  # unix seconds
    rating: float  # in [0, 1]


class TakenIn(NamedTuple):
    """N interactions, in the order in which they came.

    Attributes:
        pair: uint64 [N], a hash of the user and the item.
        time: int64 [N], unix seconds.
    """

    pair: npt.NDArray[np.uint64]
    time: npt.NDArray[np.int64]

    @classmethod
    def load(cls, model: Path) -> TakenIn:
        """Read the file beside a SavedModel; without it nothing was taken in."""
        if not (model / FILE).is_file():
            return NOTHING
        with np.load(model / FILE) as file:
            return cls(file["pair"], file["time"])

    def save(self, model: Path) -> None:
        """Write it there."""
        np.savez(model / FILE, **self._asdict())

    def fresh(self, interactions: Iterable[FirstInteraction]) -> list[FirstInteraction]:
        """Those that were not taken in, each once: of equal ones the highest rating counts."""
        known = set(zip(self.pair.tolist(), self.time.tolist(), strict=True))
        best: dict[tuple[int, int], FirstInteraction] = {}
        for one in sorted(interactions, key=lambda one: -one.rating):
            best.setdefault((pair_of(one), one.timestamp), one)
        return [one for key, one in best.items() if key not in known]

    def latest(self) -> dict[int, int]:
        """The time of the last one of each pair."""
        order = np.argsort(self.time, kind="stable")
        return dict(zip(self.pair[order].tolist(), self.time[order].tolist(), strict=True))

    def with_more(self, interactions: Iterable[FirstInteraction]) -> TakenIn:
        """These and further ones."""
        more = [(pair_of(one), one.timestamp) for one in interactions]
        pair, time = zip(*more, strict=True) if more else ((), ())
        return TakenIn(
            np.concatenate([self.pair, np.array(pair, np.uint64)]),
            np.concatenate([self.time, np.array(time, np.int64)]),
        )


NOTHING: Final = TakenIn(np.zeros(0, np.uint64), np.zeros(0, np.int64))


def pair_of(one: FirstInteraction) -> int:
    """A hash of 64 bits of who interacted with what; no id holds the character between them."""
    digest = hashlib.blake2b(f"{one.user}\0{one.item}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
