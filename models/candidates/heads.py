"""The few anchors that lend an item most of its score, and under which of them it is posted."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.candidates.columns import HEAD

Rows = npt.NDArray[np.integer[Any]]
# Of the first weight, from which on an item is posted under its second anchor too.
_NEARLY: Final = 0.5


class Heads(NamedTuple):
    """Anchors int32 [N, HEAD] of items and their weights float32 [N, HEAD], with the demand."""

    anchor: npt.NDArray[np.int32]
    weight: Floats


def heads_of(anchor: npt.NDArray[np.integer[Any]], weight: Floats, demand: Floats) -> Heads:
    """The anchor that lends most, then the others in falling order of what they add or take.

    Args:
        anchor: int [N, K], lists of anchors.
        weight: float32 [N, K], theirs.
        demand: float32 [N], logit.
    """
    missing = [(0, 0), (0, max(HEAD - anchor.shape[1], 0))]
    anchor, weight = np.pad(anchor, missing), np.pad(weight, missing)
    size = np.abs(weight)
    np.put_along_axis(size, weight.argmax(axis=1)[:, np.newaxis], np.inf, axis=1)
    order = np.argsort(-size, axis=1, kind="stable")[:, :HEAD]
    strongest = np.take_along_axis(weight, order, axis=1) * np.exp(demand)[:, np.newaxis]
    return Heads(
        np.take_along_axis(anchor, order, axis=1).astype(np.int32), strongest.astype(np.float32)
    )


def posted(rows: Rows, heads: Heads) -> tuple[Rows, Heads]:
    """Each item under its first anchor, and under the second where that lends nearly as much.

    Args:
        rows: int [N], of the items.
        heads: of those.

    Returns:
        int [M] and heads whose first anchor is the one under which the item is posted.
    """
    again = heads.weight[:, 1] > _NEARLY * heads.weight[:, 0]
    swapped = [1, 0, *range(2, HEAD)]
    return np.concatenate([rows, rows[again]]), Heads(
        *(np.concatenate([column, column[again][:, swapped]]) for column in heads)
    )
