"""Items without interactions take over the scores of seen ones: by kernel ridge regression.

A user's score for a new item is the value of a smooth function over items that is known at the
seen ones, the anchors. It is a weighted sum of the anchors' scores, and the weights depend on the
items alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import inv, lu_factor, lu_solve
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from models.arrays import Floats
from models.threads import on_all_processors

_CONSTANT: Final = 0.05  # of the kernel: all items have something in common
_FACTORS: Final = 64
_FACTOR_RIDGE: Final = 1.0
_TOLERANCE: Final = 1e-8  # of the factors, relative
_ROUNDS: Final = 1000  # of ARPACK; a shop takes a few
_FACTOR_SHARE: Final = 0.1
_NOISE_POWER: Final = 0.25
_REFIT_RIDGE: Final = 1e-3
_TOGETHER: Final = 64  # items that one thread keeps anchors of


class Alignment:
    """The regression on one set of anchors.

    Weights of the anchors for an item are (K + Λ)⁻¹ k, the mean of Gaussian process regression
    (Rasmussen & Williams 2006, equation 2.25). K is the item kernel; with `refine` it is a blend
    with a second one, which compares the co-purchase factors that the first one predicts. So items
    are also alike where words differ that make no difference to buyers. An anchor's factors are
    predicted without itself (equation 5.12 there), as those of an item without interactions are.
    """

    def __init__(
        self, among: Floats, history: sp.csr_matrix, *, ridge: float, refine: bool
    ) -> None:
        """Factor the system, once for all items.

        Args:
            among: float32 [A, A], kernel of the anchors.
            history: users x anchors of 0 and 1.
            ridge: λ; the noise of an anchor is that times a power of its popularity.
            refine: whether to blend in the second kernel.
        """
        system = among + np.float32(_CONSTANT)
        self._predicted: Floats | None = None
        if refine and min(history.shape) > 1:
            self._predicted, self._map = _predicted_factors(system, history)
            second = _likeness(self._predicted, self._predicted)
            np.fill_diagonal(second, 1.0)
            system = _blend(system, second)
        popularity = np.maximum(history.getnnz(axis=0), 1).astype(np.float32)
        noise = ridge * (popularity / popularity.mean()) ** _NOISE_POWER
        system[np.diag_indices_from(system)] += noise
        # Not by Cholesky: cut at 0, a kernel of cosines need not be positive definite.
        self._factors = lu_factor(system, overwrite_a=True, check_finite=False)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `of_arrays` makes the same alignment of."""
        system, pivots = self._factors
        arrays = {"system": system, "pivots": pivots}
        return arrays | ({} if self._predicted is None else {
            "predicted": self._predicted, "map": self._map,
        })  # fmt: skip

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Alignment:
        """Put together again, without factoring the system anew."""
        alignment = cls.__new__(cls)
        alignment._factors = (arrays["system"], arrays["pivots"])
        alignment._predicted = arrays.get("predicted")
        if "map" in arrays:
            alignment._map = arrays["map"]
        return alignment

    def __call__(self, towards: Floats) -> Floats:
        """Weights of the anchors for T items, float32 [A, T], from their kernel, float32 [A, T].

        Scores of the anchors [B, A] become those of the items by `scores @ weights`.
        """
        towards = towards + np.float32(_CONSTANT)
        if self._predicted is not None:
            likeness = _likeness(_unit(towards.T @ self._map), self._predicted).T
            towards = _blend(towards, likeness)
        weights: Floats = lu_solve(self._factors, towards, overwrite_b=True, check_finite=False)
        return weights


def _predicted_factors(kernel: Floats, history: sp.csr_matrix) -> tuple[Floats, Floats]:
    """Co-purchase factors of the anchors as predicted without themselves, and the regression.

    Returns:
        float32 [A, q] of unit length, and float32 [A, q] that predicts an item's factors from its
        kernel with the anchors.
    """
    factors = _co_purchase_factors(history)
    system = kernel.copy()
    system[np.diag_indices_from(system)] += np.float32(_FACTOR_RIDGE)
    inverse = inv(system, overwrite_a=True, check_finite=False)
    regression = inverse @ factors
    return _unit(factors - regression / np.diag(inverse)[:, np.newaxis]), regression


def _co_purchase_factors(history: sp.csr_matrix) -> Floats:
    """Singular vectors of the users x items matrix with users and items of equal weight.

    Where few users have bought little, many singular values are equal, and ARPACK may not find the
    vectors of all of them; those it found are as good.
    """
    users = sp.diags(1.0 / np.sqrt(np.maximum(history.getnnz(axis=1), 1)))
    items = sp.diags(1.0 / np.sqrt(np.maximum(history.getnnz(axis=0), 1)))
    scaled = (users @ history @ items).astype(np.float64)
    size, count = scaled.shape[1], min(_FACTORS, min(scaled.shape) - 1)
    gram = LinearOperator((size, size), matvec=lambda x: scaled.T @ (scaled @ x), dtype=np.float64)
    start = np.random.default_rng(0).random(size)
    try:
        squares, vectors = eigsh(gram, k=count, v0=start, tol=_TOLERANCE, maxiter=_ROUNDS)
    except ArpackNoConvergence as partly:
        squares, vectors = partly.eigenvalues, partly.eigenvectors
    factors: Floats = (vectors * np.maximum(squares, 0.0) ** 0.25).astype(np.float32)
    return factors


def _likeness(one: Floats, other: Floats) -> Floats:
    likeness: Floats = np.square(np.maximum(one @ other.T, 0.0))
    return likeness


def _blend(first: Floats, second: Floats) -> Floats:
    share = np.float32(_FACTOR_SHARE)
    blended: Floats = (1 - share) * first + share * (second + np.float32(_CONSTANT))
    return blended


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + np.float32(1e-9))
    return unit


def keep_strongest(
    weights: Floats, gram: npt.NDArray[np.floating[Any]], per_item: int
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The few anchors of each item that give nearly the same scores as all of them.

    The anchors that contribute most are kept, and their weights are fitted again, by least squares
    over the users, to the scores that all weights give. Merely cutting the others off loses much
    more: 16 fitted anchors rank like the whole set, 16 that were cut don't.

    Args:
        weights: float32 [A, T] of an `Alignment`.
        gram: float32 or float64 [A, A], mean over the users of the products of their anchor scores.
        per_item: K.

    Returns:
        int32 [T, min(K, A)] places of anchors and float32 weights of the same shape.
    """
    width = min(per_item, len(weights))
    spread = np.sqrt(np.diag(gram))
    ridge = _REFIT_RIDGE * (np.trace(gram) / len(gram)) + np.finfo(np.float32).tiny

    def strongest(items: slice) -> tuple[npt.NDArray[np.int64], Floats]:
        own = np.ascontiguousarray(weights[:, items].T)
        index = np.argpartition(-np.abs(own) * spread, width - 1, axis=1)[:, :width]
        system, wanted = np.empty((*index.shape, width)), np.empty(index.shape)
        for item, chosen in enumerate(index):
            # Of all pairs of anchors only those with a chosen one are needed.
            rows = gram.take(chosen, axis=0)
            system[item], wanted[item] = rows.take(chosen, axis=1), rows @ own[item]
        system[:, np.arange(width), np.arange(width)] += ridge
        wanted += ridge * np.take_along_axis(own, index, axis=1)
        # Many in one call, during which other threads can compute.
        return index, np.linalg.solve(system, wanted[..., np.newaxis])[..., 0].astype(np.float32)

    items = range(0, max(weights.shape[1], 1), _TOGETHER)
    parts = on_all_processors(strongest, [slice(at, at + _TOGETHER) for at in items])
    index, kept = zip(*parts, strict=True)
    return np.concatenate(index).astype(np.int32), np.concatenate(kept)
