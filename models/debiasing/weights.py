"""Inverse propensity weights: an interaction counts the less, the likelier it was to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.kernel import Floats


def inverse_propensity(
    interactions: npt.NDArray[np.integer[Any]], *, exponent: float, clip: float
) -> Floats:
    """Weights of items whose propensity is a power of their popularity (Schnabel et al. 2016).

    Args:
        interactions: [I], of each item; one without any counts as if it had one.
        exponent: of the popularity; 0 gives every item the weight 1.
        clip: the greatest weight, in relation to the mean over the interactions.

    Returns:
        float32 [I]; before the cut their mean over the interactions is 1.
    """
    count = np.maximum(interactions, 1).astype(np.float64)
    weight = count**-exponent
    mean = np.average(weight, weights=interactions) if interactions.sum() else weight.mean()
    cut: Floats = np.minimum(weight / mean, clip).astype(np.float32)
    return cut
