"""Inverse propensity weights: an interaction counts the less, the likelier it was to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats


def inverse_propensity(
    item: npt.NDArray[np.integer[Any]], logged: Floats, *, exponent: float, clip: float
) -> Floats:
    """Weights of N interactions by their propensities (Schnabel et al. 2016).

    The propensity is what was logged; where nothing was, it is taken for a power of the item's
    popularity. The two have no scale in common, so the interactions with and those without a log
    have a mean weight of 1 each, before the cut of the latter.

    Args:
        item: [N], rows.
        logged: float32 [N] in (0, 1], NaN where nothing was logged.
        exponent: of the propensity; 0 gives every interaction the weight 1.
        clip: the greatest weight: by popularity in relation to the mean, by the log to an item that
            was sure to be shown.

    Returns:
        float32 [N].
    """
    weight = np.bincount(item)[item].astype(np.float64) ** -exponent
    is_logged = ~np.isnan(logged)
    weight[~is_logged] = np.minimum(_relative(weight[~is_logged]), clip)
    # A propensity has a floor, as in clipped IPS: a rare one among many would take all the weight.
    sure = np.minimum(logged[is_logged].astype(np.float64) ** -exponent, clip)
    weight[is_logged] = _relative(sure)
    weights: Floats = weight.astype(np.float32)
    return weights


def of_pairs(
    user: npt.NDArray[np.integer[Any]],
    item: npt.NDArray[np.integer[Any]],
    weight: Floats,
    shape: tuple[int, int],
) -> sp.csr_matrix:
    """Users x items: the mean weight of a user's interactions with an item, float32.

    Args:
        user: [N].
        item: [N], rows.
        weight: float32 [N].
        shape: how many users and items there are.
    """
    total = sp.csr_matrix((weight, (user, item)), shape)
    times = sp.csr_matrix((np.ones_like(weight), (user, item)), shape)
    total.sum_duplicates()
    times.sum_duplicates()
    total.data /= times.data
    return total


def _relative(weight: Doubles) -> Doubles:
    """To the mean."""
    return weight / weight.mean() if len(weight) else weight
