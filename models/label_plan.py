"""Which items to have labelled first: where much is uncertain, for that item and for many others.

Labels of an item are its first interactions. What users think of an item is taken for a linear
function over the shared space, of which every labelled item tells something (Bayesian linear
regression). The item is chosen whose label takes the most from the variance of all that have none:
V-optimal design (Fedorov 1972), greedily. An item that many will want counts the more, and its
label has the less noise, for it has more interactions. No label is needed for that, only where the
items lie and what demand is expected of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Doubles, Floats

_RIDGE: Final = 1.0
_BATCH: Final = 1 << 14


class Placed(NamedTuple):
    """N items in the shared space.

    Attributes:
        embedding: float32 [N, D], of unit length.
        log_demand: float32 [N], logarithm of what is expected to be sold, up to a constant.
    """

    embedding: Floats
    log_demand: Floats

    def demand(self) -> Doubles:
        """In relation to the mean, float64 [N]."""
        demand = np.exp(self.log_demand.astype(np.float64))
        relative: Doubles = demand / demand.mean() if len(demand) else demand
        return relative


@dataclass(frozen=True)
class LabelPlan:
    """K items in the order in which they are to be labelled.

    Attributes:
        row: int64 [K], among the candidates.
        uncertainty: float64 [K], variance of the item when its turn comes, from 0 to 1.
        density: float64 [K], of about how many candidates of average demand its label tells, itself
            among them: what it takes from the variance of all, in relation to its own.
        left: float64 [K], share of the candidates' variance that is left with its label.
    """

    row: npt.NDArray[np.int64]
    uncertainty: Doubles
    density: Doubles
    left: Doubles


def plan_labels(candidates: Placed, labelled: Placed, count: int) -> LabelPlan:
    """Choose by uncertainty times density, one item after the other.

    The weights of the function have variance 1 / ridge, and the label of an item of demand d noise
    of variance 1 / d. With S the covariance of the weights and G the sum of d x x' over all
    candidates x: the uncertainty of one is u = x' S x, and its product with density is
    x' S G S x / (1 / d + u).

    Args:
        candidates: N items.
        labelled: those of which enough is known.
        count: K, cut to N.
    """
    space, demand = candidates.embedding.astype(np.float64), candidates.demand()
    known = labelled.embedding.astype(np.float64)
    precision = (known * labelled.demand()[:, np.newaxis]).T @ known
    covariance = np.linalg.inv(precision + _RIDGE * np.eye(space.shape[1]))
    gram = (space * demand[:, np.newaxis]).T @ space
    before = np.einsum("ij,ij->", gram, covariance)
    is_open = np.ones(len(space), np.bool_)
    rows, variances, densities, left = [], [], [], []
    for _ in range(min(count, len(space))):
        variance = _quadratic(space, covariance)
        taken = _quadratic(space, covariance @ gram @ covariance) / (1.0 / demand + variance)
        best = int(np.argmax(np.where(is_open, taken, -np.inf)))
        moved = covariance @ space[best]
        covariance -= np.outer(moved, moved) / (1.0 / demand[best] + variance[best])
        is_open[best] = False
        rows.append(best)
        variances.append(variance[best] * _RIDGE)
        densities.append(taken[best] / variance[best])
        left.append(np.einsum("ij,ij->", gram, covariance) / before)
    return LabelPlan(
        np.array(rows, np.int64), np.array(variances), np.array(densities), np.array(left)
    )


def _quadratic(space: Doubles, form: Doubles) -> Doubles:
    """X' form x of each row: float64 [N, D] and [D, D] to [N]."""
    parts = [space[start : start + _BATCH] for start in range(0, len(space), _BATCH)]
    return np.concatenate([np.einsum("ij,ij->i", part @ form, part) for part in parts])
