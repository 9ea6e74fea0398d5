"""A tiny shop with structure: themes share words, people keep to two, and some colours sell best.

The generator is the oracle. It notes every bad row it writes and every item without interactions,
so that the pipeline's counts are compared with what was meant and not with a second reading.
"""

import csv
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

THEMES = {
    "kitchen": ("tea", "cup", "mug", "egg", "bottle", "water", "hot", "cake"),
    "christmas": ("christmas", "star", "candle", "decoration", "hanging", "bunting", "party"),
    "garden": ("garden", "metal", "wall", "sign", "wood", "house", "night", "round"),
    "sewing": ("cotton", "wool", "doll", "heart", "bag", "lunch", "love", "rabbit"),
    "office": ("office", "paper", "card", "clock", "alarm", "board", "tag", "drawer"),
    "studio": ("design", "ceramic", "glass", "ivory", "knob", "silver", "gold", "steel"),
}
# From much to little bought: what training can learn about items that nobody has bought yet.
COLOURS = ("red", "vintage", "pink", "white", "retro", "blue", "cream", "small", "green", "large")
QUALITY = dict(zip(THEMES, (5, 2, 4, 1, 5, 2), strict=True))  # the average rating, about
ITEMS_PER_THEME = 25
NEW_PER_THEME = 3
USERS = 80
EVENTS_PER_USER = 19
START = 1_300_000_000


class Item(NamedTuple):
    """One product; `on_sale` is False where no interaction may mention it."""

    title: str
    theme: str  # stands in the column `category`
    price: float | None
    material: str  # a further column
    on_sale: bool


@dataclass
class Shop:
    """A data folder and what was meant when it was written."""

    folder: Path
    items: dict[str, Item] = field(default_factory=dict)
    histories: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # file to rows of data, the bad ones too
    bad: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)

    @property
    def interactions(self) -> int:
        """How many good ones there are."""
        return sum(map(len, self.histories.values()))

    @property
    def unsold(self) -> set[str]:
        """The new products."""
        return set(self.items).difference(*self.histories.values())

    def of_theme(self, theme: str) -> list[str]:
        """Its items, sold or not."""
        return [item for item, values in self.items.items() if values.theme == theme]


class _Table:
    def __init__(self, shop: Shop, name: str, *columns: str) -> None:
        self._shop, self._name = shop, f"{name}.csv"
        self._rows: list[tuple[object, ...]] = [columns]

    def good(self, *values: object) -> None:
        self._rows.append(values)

    def bad(self, reason: str, column: str, *values: object) -> None:
        self._shop.bad.setdefault((self._name, reason, column), []).append(len(self._rows))
        self._rows.append(values)

    def write(self) -> None:
        self._shop.folder.mkdir(parents=True, exist_ok=True)
        with (self._shop.folder / self._name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self._rows)
        self._shop.rows[self._name] = len(self._rows) - 1


def write_shop(folder: Path, *, price_factor: float = 1.0) -> Shop:
    """Write the shop; only the prices depend on anything."""
    shop, rng = Shop(folder), random.Random(5)
    _write_items(shop, rng, price_factor)
    _write_groups(shop)
    _write_users(shop, rng)
    _write_interactions(shop, rng)
    return shop


def _write_items(shop: Shop, rng: random.Random, price_factor: float) -> None:
    table = _Table(shop, "items", "item_id", "title", "category", "price", "material")
    for theme, words in THEMES.items():
        for number in range(ITEMS_PER_THEME):
            item = Item(
                title=" ".join([rng.choice(COLOURS), *rng.sample(words, 3)]),
                theme=theme,
                price=round(rng.uniform(1, 20) * price_factor, 2) if number % 10 else None,
                material=rng.choice(["wool", "wood", ""]),
                on_sale=number < ITEMS_PER_THEME - NEW_PER_THEME,
            )
            item_id = f"{len(shop.items):05d}"  # leading zeros must survive
            shop.items[item_id] = item
            price = "" if item.price is None else item.price
            table.good(item_id, item.title, theme, price, item.material)
        if theme == "garden":
            table.bad("not a number", "price", "cheap", "a garden sign", theme, "cheap", "")
    table.bad("duplicate id", "item_id", "00003", "another tea cup", "kitchen", 3, "")
    table.bad("control character", "title", "bell", "a \x07 bell", "garden", 3, "")
    table.write()


def _write_groups(shop: Shop) -> None:
    """Neighbours by number are variants of one another, every fifth item begins a pair."""
    table = _Table(shop, "variant_groups", "item_id", "group_id")
    old = [item for item, values in shop.items.items() if values.on_sale]
    for first, second in zip(old[::5], old[1::5], strict=False):
        shop.groups[f"like-{first}"] = [first, second]
        table.good(first, f"like-{first}")
        table.good(second, f"like-{first}")
    table.write()


def _write_users(shop: Shop, rng: random.Random) -> None:
    """All but the last five have a profile."""
    table = _Table(shop, "users", "user_id", "age", "occupation")
    for number in range(USERS - 5):
        table.good(f"u{number}", 20 + number, rng.choice(["student", "engineer"]))
    table.bad("duplicate id", "user_id", "u1", 99, "student")
    table.write()


def _write_interactions(shop: Shop, rng: random.Random) -> None:
    table = _Table(shop, "interactions", "user_id", "item_id", "timestamp", "rating")
    on_sale = {
        theme: [item for item in shop.of_theme(theme) if shop.items[item].on_sale]
        for theme in THEMES
    }
    for number in range(USERS):
        user, likes = f"u{number}", rng.sample(list(THEMES), 2)
        chosen = []
        for _ in range(EVENTS_PER_USER):
            shelf = on_sale[rng.choice(likes if rng.random() < 0.9 else list(THEMES))]
            demand = [0.7 ** COLOURS.index(shop.items[item].title.split()[0]) for item in shelf]
            chosen += rng.choices(shelf, demand)
        shop.histories[user] = list(dict.fromkeys(chosen))
        for place, item in enumerate(shop.histories[user]):
            rating = QUALITY[shop.items[item].theme] + rng.choice([-1, 0, 0, 1])
            table.good(user, item, START + 86_400 * place + number, min(5, max(1, rating)))
        if number == 40:
            table.bad("item not in the catalogue", "item_id", user, "99999", START, 3)
            table.bad("neither unix seconds nor ISO 8601", "timestamp", user, "00001", "soon", 3)
            table.bad("timestamp out of range", "timestamp", user, "00001", START * 1000, 3)
    table.bad("empty id", "user_id", "", "00001", START, 3)
    table.bad("not a number", "rating", "u2", "00001", START, "good")
    table.bad("wrong number of columns", "", "u2", "00001", START)
    table.bad("item not in the catalogue", "item_id", "u3", "bell", START, 3)
    table.write()
