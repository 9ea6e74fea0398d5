"""EASE, an item-item model in closed form (Steck 2019, arXiv:1905.03375): the teacher."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dpotri

from models.arrays import Doubles, Floats

_BLOCK: Final = 256


def ease(history: sp.csr_matrix, regularization: float) -> Floats:
    """Item-item weights that best reconstruct the interactions without the diagonal.

    Args:
        history: users x items [U, A] of 0 and 1. Cost is cubic in A: a few thousand at most.
        regularization: λ of the ridge, in interactions.

    Returns:
        float32 [A, A]; a history x [1, A] scores the items as `x @ weights`. Equation 8.
    """
    if not history.shape[1]:
        return np.zeros((0, 0), np.float32)
    gram = np.asarray((history.T @ history).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    # Positive definite, so by Cholesky: half of the operations of a general inverse.
    factor, _ = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = dpotri(factor, lower=True, overwrite_c=True)
    # LAPACK's order of a matrix is that of NumPy's transposed one.
    weights = _mirror(inverse.T)
    weights /= -np.diag(weights)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def _mirror(upper: Doubles) -> Doubles:
    """Give a matrix [A, A] the lower half that makes it symmetric, in place, and return it.

    By blocks, because a whole transposed matrix is read against the grain of memory.
    """
    for start in range(0, len(upper), _BLOCK):
        end = start + _BLOCK
        upper[end:, start:end] = upper[start:end, end:].T
        block = upper[start:end, start:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
    return upper
