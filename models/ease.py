"""EASE, an item-item model in closed form (Steck 2019, arXiv:1905.03375): the teacher."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp


def ease(history: sp.csr_matrix, regularization: float) -> npt.NDArray[np.float32]:
    """Item-item weights that best reconstruct the interactions without the diagonal.

    Args:
        history: users x items [U, A] of 0 and 1. Cost is cubic in A: a few thousand at most.
        regularization: λ of the ridge, in interactions.

    Returns:
        float32 [A, A]; a history x [1, A] scores the items as `x @ weights`. Equation 8.
    """
    gram = np.asarray((history.T @ history).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)
