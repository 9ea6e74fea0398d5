"""A data folder of any size: Zipf users and items, and texts from a small grammar.

It is written in blocks, so that generating needs no more memory than a block.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from models.arrays import Doubles

# Zipf's exponents: a few bestsellers take most of the sales, users differ less.
_ITEM_EXPONENT: Final = 1.0
_USER_EXPONENT: Final = 0.5
_NEW_SHARE: Final = 0.05  # of the items, without any interaction
_START: Final = 1_600_000_000
_YEAR: Final = 365 * 86_400
_BLOCK: Final = 1 << 17

_QUALITIES: Final = (
    "red", "blue", "small", "large", "vintage", "folding", "striped", "plain", "hanging", "round",
    "portable", "heavy", "light", "glossy", "antique", "recycled",
)  # fmt: skip
_MATERIALS: Final = (
    "wood", "glass", "steel", "cotton", "paper", "ceramic", "wool", "cork", "leather", "bamboo",
)  # fmt: skip
_THINGS: Final = {
    "kitchen": ("cup", "bowl", "jug", "pan", "tray", "kettle", "jar", "plate"),
    "garden": ("lantern", "pot", "spade", "bench", "feeder", "hose", "gate", "fence"),
    "office": ("clock", "lamp", "drawer", "board", "chair", "folder", "stand", "shelf"),
    "nursery": ("rabbit", "bear", "mobile", "blanket", "train", "puzzle", "rattle", "kite"),
}
_PLACES: Final = ("the hall", "a small room", "the terrace", "every day", "guests", "travel")


class Size(NamedTuple):
    """How large a shop is."""

    rows: int
    users: int
    items: int

    def times(self, factor: int) -> Size:
        """So many times as large."""
        return Size(*(factor * count for count in self))


def write_shop(folder: Path, size: Size, *, seed: int = 0) -> None:
    """Write `items.csv` and `interactions.csv`.

    Args:
        folder: is made; must not hold a shop yet.
        size: rows of interactions; users, of whom the last may have none; items, of which the
            share `_NEW_SHARE` has none.
        seed: of all draws.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    _write(folder / "items.csv", "item_id,title,category,brand,description,price",
           _items(size.items, random))  # fmt: skip
    _write(folder / "interactions.csv", "user_id,item_id,timestamp,rating",
           _interactions(size, random))  # fmt: skip


def _items(count: int, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    places = list(_THINGS)
    for number in range(count):
        category = places[random.integers(len(places))]
        quality, other = random.choice(_QUALITIES, 2, replace=False)
        material, thing = random.choice(_MATERIALS), random.choice(_THINGS[category])
        use = " and ".join(random.choice(_PLACES, random.integers(1, 4), replace=False))
        yield (
            f"i{number}",
            f"{quality} {material} {thing} no. {number % 997}",
            category,
            f"brand {random.integers(1 + count // 50)}",
            f"A {other} {thing} of {material}, {quality}, for {use}.",
            round(float(random.lognormal(2.5, 0.8)), 2),
        )


def _interactions(size: Size, random: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    sold = size.items - int(_NEW_SHARE * size.items)
    # Which items sell best has nothing to do with their numbers.
    item_of_rank = random.permutation(size.items)[:sold]
    items, users = _zipf(sold, _ITEM_EXPONENT), _zipf(size.users, _USER_EXPONENT)
    for start in range(0, size.rows, _BLOCK):
        count = min(_BLOCK, size.rows - start)
        user = np.searchsorted(users, random.random(count))
        item = item_of_rank[np.searchsorted(items, random.random(count))]
        time = random.integers(_START, _START + _YEAR, count)
        rating = np.clip(np.round(random.normal(3.7, 1.0, count)), 1, 5).astype(int)
        yield from zip(
            (f"u{number}" for number in user), (f"i{number}" for number in item),
            time.tolist(), rating.tolist(), strict=True,
        )  # fmt: skip


def _zipf(count: int, exponent: float) -> Doubles:
    """The distribution function over ranks; its last value is 1."""
    weight = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    summed: Doubles = np.cumsum(weight)
    shares: Doubles = summed / summed[-1]
    return shares


def _write(file: Path, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns.split(","))
        writer.writerows(rows)
