"""An index of the users on the shelf: who bought an item, and what a user's scores are relative to.

The shelf keeps purchases user by user. An audience asks the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.companding import read_floats
from models.few_shot.evidence import attention
from models.towers import FLOOR, LITTLE


@dataclass(frozen=True)
class Buyers:
    """Columns of the shelf for N purchases, I items, U users and A anchors.

    Attributes:
        user: int32 [N], who bought, item by item, in rising order for each.
        offset: int64 [I + 1], where each item's part of `user` begins.
        reference: float32 [U], what a user's scores are relative to.
        base: float32 [U], what is expected of a user who inherits nothing for an item: the smallest
            score there is, times one more than the user bought.
        gain: float32 [U], what is expected beside that for each inherited 1.
        anchor_item: int32 [A], rows of the anchors.
    """

    user: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    reference: Floats
    base: Floats
    gain: Floats
    anchor_item: npt.NDArray[np.int32]


def index_buyers(
    items: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int64],
    *,
    source: npt.NDArray[np.int32],
    index: npt.NDArray[np.int16],
    weight: npt.NDArray[np.float16],
    teacher: Floats,
    reference: Floats,
) -> Buyers:
    """Index purchases by item.

    Args:
        items: int32 [N], rows, user by user.
        offset: int64 [U + 1], where each user's part of them begins.
        source: int32 [I], of `models.inheritance.anchors.Inheritance`, as are the others.
        index: int16 [A + L, K].
        weight: float16 [A + L, K].
        teacher: float32 [A, A].
        reference: float32 [A].
    """
    anchors = len(teacher)
    user = np.repeat(np.arange(len(offset) - 1, dtype=np.int32), np.diff(offset))
    order = np.argsort(items, kind="stable")
    bought = source[items]
    worth = np.zeros(len(index), np.float32)
    worth[:anchors] = teacher @ reference
    others = np.unique(bought[bought >= anchors])
    share = attention(weight[others].astype(np.float32))
    worth[others] = (share * worth[index[others]]).sum(axis=1)
    total = np.bincount(user, worth[bought], len(offset) - 1)
    habit = 1.0 + np.diff(offset)
    anchor_item = np.zeros(anchors, np.int32)
    rows = np.flatnonzero(source < anchors)
    anchor_item[source[rows]] = rows
    return Buyers(
        user=user[order],
        offset=np.searchsorted(items[order], np.arange(len(source) + 1)).astype(np.int64),
        reference=total.astype(np.float32),
        base=(FLOOR * habit).astype(np.float32),
        gain=(habit / (np.maximum(total, 0.0) + LITTLE)).astype(np.float32),
        anchor_item=anchor_item,
    )


def index_buyers_on(
    shelf: Any, items: npt.NDArray[np.int32], offset: npt.NDArray[np.int64]
) -> Buyers:
    """`index_buyers` for the shelf of a loaded SavedModel, with other purchases than its own."""
    return index_buyers(
        items,
        offset,
        source=shelf.served.source.numpy(),
        index=shelf.served.anchor_index.numpy(),
        weight=shelf.served.anchor_weight.numpy(),
        teacher=read_floats(shelf.served, "anchor_teacher"),
        reference=shelf.served.reference_weight.numpy(),
    )
