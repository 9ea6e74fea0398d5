"""How alike two items are by what the catalogue says of them, before any interaction."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Floats
from models.threads import on_all_processors

NO_BRAND: Final = -1
_LEXICAL_SHARE: Final = 0.5
_NEAR_PLACE: Final = 0.003
_FAR_PLACE: Final = 0.1
_PRICE_WIDTH: Final = 0.1
_TOGETHER: Final = 256  # items that one thread compares with others


class ItemView(NamedTuple):
    """N items, as far as the kernel looks at them.

    Attributes:
        text: float32 [N, hidden], encoder output of unit length.
        terms: float32 [N, columns], sparse, of unit length.
        place: float32 [N], rank of the item's id in the catalogue, from 0 to 1.
        price: float32 [N], standardised logarithm, NaN where it is unknown.
        brand: int64 [N], equal for equal brands, NO_BRAND where there is none.
    """

    text: Floats
    terms: sp.csr_matrix
    place: Floats
    price: Floats
    brand: npt.NDArray[np.int64]

    def rows(self, rows: npt.NDArray[np.int64]) -> ItemView:
        """The items at some rows."""
        return ItemView(
            text=self.text[rows],
            terms=self.terms[rows],
            place=self.place[rows],
            price=self.price[rows],
            brand=self.brand[rows],
        )


class KernelSettings(NamedTuple):
    """What differs between shops; `models.inheritance.selection` finds it out.

    Attributes:
        ridge: how much of an anchor's score is taken for noise.
        order: weight of where items stand in the order of ids; 0 leaves it out.
        side: share of what compares no texts.
    """

    ridge: float
    order: float
    side: float


class KernelScales(NamedTuple):
    """What makes the kernel 1 on average over a catalogue.

    Attributes:
        product: of the likeness of texts.
        side: of what compares no texts.
    """

    product: float
    side: float


class Comparison(NamedTuple):
    """A items beside B others, before anything is known of the shop: float32 [A, B] each.

    Attributes:
        text: text(i, j) of `ItemKernel`.
        attributes: of brand and price, the sum of r_m(i, j).
        order: the same of places in the order of ids.
    """

    text: Floats
    attributes: Floats
    order: Floats


def compare(one: ItemView, other: ItemView) -> Comparison:
    """Compare A items with B others."""
    words = (one.terms @ other.terms.T).toarray()
    meaning = np.square(np.square(np.maximum(one.text @ other.text.T, 0.0)))
    brand, price = one.brand[:, np.newaxis], one.price[:, np.newaxis]
    same = ((brand == other.brand) & (brand != NO_BRAND)).astype(np.float32)
    # Prices that are unknown are infinitely far from all, and from one another.
    price, others = np.nan_to_num(price, nan=np.inf), np.nan_to_num(other.price, nan=-np.inf)
    near = np.exp(np.abs(price - others) / np.float32(-_PRICE_WIDTH))
    apart = np.abs(one.place[:, np.newaxis] - other.place)
    near_place, far_place = (
        np.exp(apart / np.float32(-width)) for width in (_NEAR_PLACE, _FAR_PLACE)
    )
    return Comparison(
        text=_LEXICAL_SHARE * words + (1 - _LEXICAL_SHARE) * meaning,
        attributes=same + near,
        order=near_place + far_place,
    )


class ItemKernel:
    """k(i, j), 1 on average for an item with itself.

    With r_m for equal brands, near prices, near places in the order of ids (on two scales):

        (1 - s) text(i, j) (1 + Σ_m c_m r_m(i, j)) + s Σ_m c_m r_m(i, j)
        text(i, j) = (terms_i·terms_j + max(text_i·text_j, 0)^4) / 2

    Texts are compared by exact words and by what the encoder makes of them. Where two items also
    agree in brand or price, or stand side by side in the order of ids, as products of one supplier
    or season do, the likeness of their texts counts more. Sums and products of kernels are kernels
    (Rasmussen & Williams 2006, section 4.2.4).
    """

    def __init__(self, catalogue: ItemView, settings: KernelSettings) -> None:
        """Take the scales from the whole catalogue."""
        known_price, known_brand = ~np.isnan(catalogue.price), catalogue.brand != NO_BRAND
        own = known_price.astype(np.float32) + known_brand + 2 * settings.order
        self.settings = settings
        self.scales = KernelScales(float((1.0 + own).mean()), max(float(own.mean()), 1e-6))

    @classmethod
    def scaled(cls, settings: KernelSettings, scales: KernelScales) -> ItemKernel:
        """With the scales of another one."""
        kernel = cls.__new__(cls)
        kernel.settings, kernel.scales = settings, scales
        return kernel

    def __call__(self, one: ItemView, other: ItemView) -> Floats:
        """The kernel of A items with B others: float32 [A, B]."""
        rows = np.arange(len(one.place))
        parts = on_all_processors(
            lambda some: self.of(compare(one.rows(some), other)),
            [rows[at : at + _TOGETHER] for at in range(0, max(len(rows), 1), _TOGETHER)],
        )
        kernel: Floats = np.concatenate(parts)
        return kernel

    def of(self, pairs: Comparison) -> Floats:
        """The kernel of items that are compared already, which takes most of the time."""
        side, order = self.settings.side, np.float32(self.settings.order)
        agreement = pairs.attributes + order * pairs.order
        product = pairs.text * (1.0 + agreement) / self.scales.product
        total: Floats = (1.0 - side) * product + side * agreement / self.scales.side
        return total


def place_in_order(ids: npt.NDArray[np.object_]) -> Floats:
    """Rank of each id, from 0 to 1: by number where all are numbers, else by their bytes."""
    keys = [int(item) for item in ids] if all(item.isdigit() for item in ids) else list(ids)
    order = sorted(range(len(ids)), key=lambda row: keys[row])
    place = np.empty(len(ids), np.float32)
    place[order] = np.arange(len(ids)) / max(len(ids) - 1, 1)
    return place


def place_beside(ids: Sequence[bytes], trained: int) -> Floats:
    """Places of ids that came later, beside those of the ids of training.

    An id stands in the gap that it falls into, at equal distances from others there. Before the
    first and behind the last one each is a step further. A name behind numbers goes to the end.

    Args:
        ids: the first `trained` are those of `place_in_order`.
        trained: at least 1.

    Returns:
        float32 [N], of the ids behind these.
    """
    numbers = all(item.isdigit() for item in ids[:trained])

    def key(item: bytes) -> tuple[bool, int, bytes]:
        return (False, int(item), b"") if numbers and item.isdigit() else (True, 0, item)

    known = sorted(map(key, ids[:trained]))
    gaps: dict[int, list[int]] = {}
    for later in sorted(range(trained, len(ids)), key=lambda row: key(ids[row])):
        gaps.setdefault(bisect_left(known, key(ids[later])), []).append(later - trained)
    place = np.empty(len(ids) - trained, np.float32)
    for gap, members in gaps.items():
        count, step = len(members), np.arange(1, len(members) + 1)
        if gap == 0:
            place[members] = step - 1 - count
        elif gap == trained:
            place[members] = trained - 1 + step
        else:
            place[members] = gap - 1 + step / (count + 1)
    return place / np.float32(max(trained - 1, 1))
