"""Some rows in place of very many: the same at every call, so that two figures can be compared."""

from __future__ import annotations

import numpy as np

from models.arrays import Rows


def at_most(rows: Rows, most: int) -> Rows:
    """Rows int64 [N], or `most` of them that are drawn evenly, in the order that they had."""
    if len(rows) <= most:
        return rows
    drawn = np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))
    kept: Rows = rows[drawn]
    return kept
