"""How exposure is spread over items: measures of what lists show, whoever made them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import Doubles
from models.interactions import PAD

Counts = Doubles


def exposures(lists: npt.NDArray[np.integer[Any]], items: int) -> Counts:
    """How many lists each of I items is in: rows [B, K], PAD for none, to float64 [I]."""
    return np.bincount(lists[lists != PAD], minlength=items).astype(np.float64)


def gini(shown: Iterable[float], items: int) -> float:
    """Gini coefficient of exposure: 0 where all items are shown alike, near 1 where few are.

    Half the mean difference of two items' exposure, in relation to the mean (Gini 1912).

    Args:
        shown: exposure of the items that were shown, in any order.
        items: how many there are, shown or not.

    Returns:
        From 0 to 1; NaN where nothing was shown.
    """
    counts = np.sort(np.fromiter(shown, np.float64))
    total = counts.sum()
    if not total:
        return float("nan")
    # The others were shown not once, so they come before all these.
    rank = np.arange(items - len(counts) + 1, items + 1)
    return float((2 * rank - items - 1) @ counts / (items * total))


def coverage(shown: Iterable[float], items: int) -> float:
    """Share of the items that are in a list at all; NaN where there is no item."""
    return sum(count > 0 for count in shown) / items if items else float("nan")
