"""Codes of items and the lists they belong to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.cluster.vq as vq
import scipy.sparse as sp

from models.candidates.columns import MOST
from models.kernel import Floats


class Encoded(NamedTuple):
    """Codes int8 [N, WIDTH] of items, and the numbers of their lists int32 [N]."""

    code: npt.NDArray[np.int8]
    of: npt.NDArray[np.int32]


class Coder(NamedTuple):
    """How an index encodes: its columns of the same names."""

    item_factor: Floats
    centre: Floats
    step: Floats

    def __call__(self, lent: sp.csr_matrix) -> Encoded:
        """Codes of items with such weights [N, A], each in the list with the nearest centre."""
        code = (lent @ self.item_factor).astype(np.float32)
        nearest, _ = vq.vq(code, self.centre, check_finite=False)
        rounded = np.clip(np.rint(code / self.step), -MOST, MOST)
        return Encoded(rounded.astype(np.int8), nearest.astype(np.int32))
