"""The index as columns of the shelf: codes of the items in inverted lists.

An item's score is a weighted sum of its anchors' scores (`models.inheritance`), so it is a product
of two long vectors: the item's weights and the user's scores of all anchors. The index keeps a
short code of each item, whose product with the user's coordinates is nearly that
(`models.candidates.factors`), list by list: items with like codes are in one list, whose centre
tells whether it is worth a look (inverted lists, Sivic & Zisserman 2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.kernel import Floats

# Width of a code. With half of it twice as many items would have to get a full score.
WIDTH: Final = 256
# Items that are kept for somebody of whom nothing is known.
POPULAR: Final = 4096
# The largest number of 8 bits with its negative.
MOST: Final = 127


@dataclass(frozen=True)
class CandidateIndex:
    """Columns for N items in C lists; N = 0 where there is no index.

    The anchors are not among the N: their scores are known before anything is searched.

    Attributes:
        user_factor: float32 [A, WIDTH], from the anchors' scores to a user's coordinates.
        item_factor: float32 [A, WIDTH], of which an item's code is a weighted sum.
        centre: float32 [C, WIDTH].
        offset: int32 [C + 1], where each list begins.
        row: int32 [N], rows of the items, list by list.
        code: int8 [N, WIDTH], in the same order.
        step: float32 [WIDTH], what 1 stands for in each number of a code.
        popular: int32 [P], the best rows for somebody of whom nothing is known.
        scanned: int32 [1], codes that are looked at for a user.
    """

    user_factor: Floats
    item_factor: Floats
    centre: Floats
    offset: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    code: npt.NDArray[np.int8]
    step: Floats
    popular: npt.NDArray[np.int32]
    scanned: npt.NDArray[np.int32]


def no_index() -> CandidateIndex:
    """The columns of a catalogue that is searched exactly."""
    return CandidateIndex(
        user_factor=np.zeros((0, WIDTH), np.float32),
        item_factor=np.zeros((0, WIDTH), np.float32),
        centre=np.zeros((0, WIDTH), np.float32),
        offset=np.zeros(1, np.int32),
        row=np.zeros(0, np.int32),
        code=np.zeros((0, WIDTH), np.int8),
        step=np.ones(WIDTH, np.float32),
        popular=np.zeros(0, np.int32),
        scanned=np.zeros(1, np.int32),
    )
