"""Magnitude pruning: the smallest weights of each matrix become 0.

A dense matrix with zeros is as large as before and no faster; it packs better. Han et al. 2015,
"Learning both weights and connections", without their training afterwards.
"""

from __future__ import annotations

import numpy as np

from models.arrays import Floats
from models.encoders.encoder import SentenceEncoder


def prune(encoder: SentenceEncoder, share: float) -> None:
    """Set the `share` of smallest magnitude of each matrix to 0; vectors stay as they are."""
    for variable in encoder.variables:
        if variable.shape.rank == 2:
            variable.assign(pruned(variable.numpy(), share))


def pruned(matrix: Floats, share: float) -> Floats:
    """A matrix without its smallest numbers: as many as make up `share`, rounded down."""
    dropped = int(share * matrix.size)
    smallest = np.argpartition(np.abs(matrix).ravel(), dropped)[:dropped]
    kept = matrix.copy()
    kept.ravel()[smallest] = 0.0
    return kept
