"""A simulated launch whose new items inherit, and how good their lists are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats, Rows
from models.inheritance.alignment import Alignment
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from models.inheritance.reference import reference_weight
from models.inheritance.simulation import SimulatedLaunch, purchase_matrix
from models.ranking import PLACES, ranking_quality
from models.sampling import at_most
from models.towers import user_logits

_VALIDATION_USERS: Final = 2048
_TOGETHER: Final = 512


@dataclass(frozen=True)
class AlignedLaunch:
    """A simulated launch whose targets inherit from its anchors.

    Attributes:
        launch: who wants what.
        weights: float32 [A, T], of the anchors.
    """

    launch: SimulatedLaunch
    weights: Floats

    @classmethod
    def align(
        cls, launch: SimulatedLaunch, view: ItemView, settings: KernelSettings
    ) -> AlignedLaunch:
        """Align the targets with the anchors, as new items are when they are served."""
        if not len(launch.anchors):
            return cls(launch, np.zeros((0, len(launch.targets)), np.float32))
        kernel, anchors = ItemKernel(view, settings), view.rows(launch.anchors)
        alignment = Alignment(
            kernel(anchors, anchors), launch.history, ridge=settings.ridge, refine=True
        )
        return cls(launch, alignment(kernel(anchors, view.rows(launch.targets))))

    @property
    def reference(self) -> Floats:
        """Mean weights, which scores are relative to where they are served: float32 [A]."""
        return reference_weight(self.weights.sum(axis=1), len(self.launch.targets))

    def popularity(self, *, own: bool) -> Floats:
        """Log popularity as `SimulatedLaunch` has it.

        Args:
            own: whether that of the anchors, float32 [A]; else what they predict, float32 [T].
        """
        popularity = self.launch.log_popularity
        return popularity if own else popularity @ self.weights

    def logits(self, history: npt.NDArray[np.int32], item: Rows, *, own: bool) -> Floats:
        """Logits of one item for each history, as they are served without a demand.

        Args:
            history: int32 [N, H], rows of the catalogue, PAD at the end.
            item: int64 [N], targets, which inherit; or anchors, by their own scores.
            own: whether they are anchors.

        Returns:
            float32 [N], NaN for a history without an anchor.
        """
        if not len(item):
            return np.zeros(0, np.float32)
        launch = self.launch
        place = np.searchsorted(launch.anchors if own else launch.targets, item)
        reference = self.reference
        parts = []
        for start in range(0, len(item), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            bought = _indicators(history[some], launch.anchors)
            scores = bought @ launch.teacher
            lent = (
                scores[np.arange(len(scores)), place[some]]
                if own
                else np.einsum("na,an->n", scores, self.weights[:, place[some]])
            )
            logits = user_logits(lent[:, np.newaxis], scores @ reference)[:, 0]
            parts.append(np.where(bought.getnnz(axis=1) > 0, logits, np.float32(np.nan)))
        return np.concatenate(parts)

    def quality_by_user(self) -> tuple[Doubles, Doubles]:
        """Recall and NDCG at 20 over the targets: float64 [B] twice, of the same users always."""
        launch, users = self.launch, at_most(self.launch.users, _VALIDATION_USERS)
        scores = (launch.history[users] @ launch.teacher) @ self.weights
        return ranking_quality(scores, launch.wanted[users].toarray(), PLACES)

    def quality(self) -> dict[str, float]:
        """Mean recall and NDCG of the users, and the mean of both as `score`; 0 without users."""
        if not len(self.launch.users):
            return {"recall": 0.0, "ndcg": 0.0, "score": 0.0}
        recall, ndcg = self.quality_by_user()
        found = {"recall": float(recall.mean()), "ndcg": float(ndcg.mean())}
        return found | {"score": (found["recall"] + found["ndcg"]) / 2}


def _indicators(history: npt.NDArray[np.int32], anchors: Rows) -> sp.csr_matrix:
    """Histories int32 [N, H] x anchors [A] of 0 and 1."""
    user, place = np.nonzero(np.isin(history, anchors))
    anchor = np.searchsorted(anchors, history[user, place])
    return purchase_matrix(user, anchor, (len(history), len(anchors)))
