"""The shelf before anything stands on it: of what type its columns are, and how wide.

That is all that the graph of a served model depends on. So it is traced while the columns are
still being computed.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Floats
from models.candidates.columns import no_index
from models.exploration.exploration import no_exploration
from models.few_shot.evidence import Evidence
from models.inheritance.anchors import Inheritance
from models.rules import Ruled
from models.shelf.buyers import Buyers
from models.shelf.shelf import STORED, ShelfData

_WHOLE, _LONG = np.zeros(0, np.int32), np.zeros(0, np.int64)
_REAL, _TRUTH, _TEXT = np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, object)


def blank_shelf(*, size: int, served: int, judged: int, rules: Ruled | None) -> ShelfData:
    """Columns without rows.

    Args:
        size: D, of embeddings.
        served: A, anchors of all interactions.
        judged: those of the train split.
        rules: what rules say of the items, None without any.
    """
    return ShelfData(
        item_id=_TEXT,
        item_name=_TEXT,
        id_fingerprint=_LONG,
        id_row=_WHOLE,
        embedding=_wide(size).astype(STORED),
        is_new=_TRUTH,
        is_cold=_TRUTH,
        available=_TRUTH,
        span=_WHOLE,
        user_id=_TEXT,
        user_profile=_WHOLE,
        profile=_wide(size),
        user_items=_WHOLE,
        user_rating=_REAL,
        user_offset=_LONG,
        served=_inheritance(size, served),
        judged=_inheritance(size, judged),
        evidence=_evidence(size),
        buyers=Buyers(
            user=_WHOLE, offset=_LONG, reference=_REAL, base=_REAL, gain=_REAL, anchor_item=_WHOLE
        ),
        rules=rules,
        exploration=no_exploration(),
        index=no_index(),
    )


def _inheritance(size: int, anchors: int) -> Inheritance:
    return Inheritance(
        source=_WHOLE,
        anchor_index=np.zeros((0, 0), np.int16),
        anchor_weight=np.zeros((0, 0), np.float16),
        demand=_REAL,
        quality=_REAL,
        log_popularity=_REAL,
        fallback=_REAL,
        anchor_teacher=_wide(anchors),
        anchor_probe=_wide(anchors),
        anchor_embedding=_wide(size),
        reference_weight=_REAL,
    )


def _evidence(size: int) -> Evidence:
    return Evidence(
        of=_WHOLE,
        row=_WHOLE,
        count=_wide(4),
        time=np.zeros((0, 2), np.int64),
        lift=_wide(0),
        attention=_wide(0),
        weight=_wide(2),
        text=_wide(size),
        expected_share=_REAL,
        cold_attention=_REAL,
        background=_REAL,
        clock_time=_LONG,
        clock_share=_REAL,
    )


def _wide(columns: int) -> Floats:
    return np.zeros((0, columns), np.float32)
