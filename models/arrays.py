"""Names for the types of arrays that most modules take and give."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]  # of the shelf, the catalogue or of users
Tokens = npt.NDArray[np.int32]  # numbers of word pieces
