"""Items as rules look at them, and which of them a selection names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.rules.form import Selection
from models.rules.spelling import composed, folded


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


class Named:
    """Finds the items that a selection names."""

    def __init__(self, goods: Goods) -> None:
        self._columns = {
            "items": [composed(item.decode()) for item in goods.item],
            "categories": [folded(text.decode()) for text in goods.category],
            "brands": [folded(text.decode()) for text in goods.brand],
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
    read = composed if column == "items" else folded
    return {read(text): text for text in getattr(selection, column)}
