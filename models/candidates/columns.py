"""The index as columns of the shelf: posting lists of the anchors, cut into blocks.

An item's score is a weighted sum of its anchors' scores (`models.inheritance.anchors`), a product
of two long and sparse vectors, as that of a query and a text is in a search engine. So it is found
as there: each item is posted under the anchor that lends it most, and under the second where that
lends nearly as much. The postings of an anchor lie in falling order of that weight (impact order,
Anh & Moffat 2001), in blocks whose first weight bounds what any of them owes to the anchor (Ding &
Suel 2011). With each lie the other anchors that weigh most, by which the postings of the best
blocks are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.columns import WIDENS

# Anchors of an item that the index keeps.
HEAD: Final = 5
# Items that are kept for somebody of whom nothing is known.
POPULAR: Final = 4096


@dataclass(frozen=True)
class CandidateIndex:
    """Columns for C blocks of W places; C = 0 where there is no index.

    The anchors are not posted: their scores are known before anything is searched.

    Attributes:
        shared: int32 [C], the anchor under which the items of a block are posted.
        most: float32 [C], the largest weight that it has in the block.
        row: int32 [C, W], rows of the items, PAD at the end of a list.
        own: float32 [C, W], their weights of that anchor, with their demand; 0 pads.
        other: int32 [C, HEAD - 1, W], the other anchors that weigh most.
        weight: float32 [C, HEAD - 1, W], theirs, likewise.
        popular: int32 [P], the best rows for somebody of whom nothing is known.
        scanned: int32 [1], places that are looked at for a user.
    """

    shared: npt.NDArray[np.int32]
    most: Floats
    row: npt.NDArray[np.int32] = field(metadata={WIDENS: True})
    own: Floats = field(metadata={WIDENS: True})
    other: npt.NDArray[np.int32] = field(metadata={WIDENS: True})
    weight: Floats = field(metadata={WIDENS: True})
    popular: npt.NDArray[np.int32]
    scanned: npt.NDArray[np.int32]


def no_index() -> CandidateIndex:
    """The columns of a catalogue that is searched exactly."""
    return CandidateIndex(
        shared=np.zeros(0, np.int32),
        most=np.zeros(0, np.float32),
        row=np.zeros((0, 1), np.int32),
        own=np.zeros((0, 1), np.float32),
        other=np.zeros((0, HEAD - 1, 1), np.int32),
        weight=np.zeros((0, HEAD - 1, 1), np.float32),
        popular=np.zeros(0, np.int32),
        scanned=np.zeros(1, np.int32),
    )
