"""Short vectors of users and items whose products are nearly the scores.

The best that vectors of a given width can do is a singular value decomposition of the matrix of
scores (Eckart & Young 1936). That of all items and all users is never formed: both are sums over
the anchors, so a sample of each tells how the anchors' scores are to be weighed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from models.arrays import Doubles, Floats
from models.inheritance.anchors import Inheritance

# Of the vectors.
WIDTH: Final = 256
_TINY: Final = 1e-6


class Factors(NamedTuple):
    """From anchors' scores to a user's vector and from weights to an item's: float32 [A, WIDTH]."""

    user: Floats
    item: Floats


def fit_factors(scores: Floats, lent: sp.csr_matrix) -> Factors:
    """Fit both to a sample; each user of it counts the same.

    The distance of two items' vectors is how far their scores lie apart for a user, on average.

    Args:
        scores: float32 [U, A], anchors' scores of a sample of users.
        lent: float32 [I, A], of a sample of items, the anchors' weights.
    """
    length = np.linalg.norm(scores, axis=1, keepdims=True)
    users = scores.astype(np.float64) / np.maximum(length, _TINY)
    of_items = lent @ users.T
    width = min(WIDTH, *of_items.shape)
    last = len(users) - 1
    _, vectors = scipy.linalg.eigh(of_items.T @ of_items, subset_by_index=[last - width + 1, last])
    item = users.T @ vectors
    item /= np.maximum(np.linalg.norm(item, axis=0), _TINY)
    codes = lent @ item
    # The coordinates by which a user's scores of the items are told best from their codes.
    user = scipy.linalg.solve(_regular(codes.T @ codes), (lent.T @ codes).T, assume_a="pos").T
    coordinates = users @ user
    spread = np.linalg.cholesky(_regular(coordinates.T @ coordinates / len(users)))
    user = scipy.linalg.solve_triangular(spread, user.T, lower=True).T
    return Factors(_widened(user), _widened(item @ spread))


def lent_weights(inheritance: Inheritance, rows: npt.NDArray[np.int64]) -> sp.csr_matrix:
    """How much of each anchor's score items get, with their demand: float32 [N, A] for rows."""
    anchor, weight = inheritance.lists(rows)
    weight = weight * np.exp(inheritance.demand[rows])[:, np.newaxis]
    begin = np.arange(len(rows) + 1) * anchor.shape[1]
    shape = (len(rows), len(inheritance.anchor_teacher))
    return sp.csr_matrix((weight.ravel(), anchor.ravel(), begin), shape=shape)


def _regular(gram: Doubles) -> Doubles:
    """With a little added to the diagonal, so that it can be inverted."""
    little = _TINY * np.trace(gram) / len(gram) + np.finfo(np.float32).tiny
    regular: Doubles = gram + little * np.eye(len(gram), dtype=gram.dtype)
    return regular


def _widened(factor: Doubles) -> Floats:
    return np.pad(factor, [(0, 0), (0, WIDTH - factor.shape[1])]).astype(np.float32)
