"""What inherited scores are relative to: the score of a typical new item."""

from __future__ import annotations

from typing import Final

import numpy as np

from models.arrays import Floats

# New items that say as much of what is typical as the anchors do.
_FEW: Final = 50


def reference_weight(lent: Floats, items: int) -> Floats:
    """Mean weights of the new items; the fewer they are, the nearer to those of anchors as well.

    Without that an item that comes alone would be relative to itself, and so the same to everybody.

    Args:
        lent: float32 [A], weights of the anchors, summed over the new items.
        items: T, how many new ones there are.

    Returns:
        float32 [A].
    """
    # An anchor stands for itself with weight 1.
    together = (lent + 1.0) / (len(lent) + items)
    return ((lent + _FEW * together) / (items + _FEW)).astype(np.float32)
