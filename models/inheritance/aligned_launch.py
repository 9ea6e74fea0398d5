"""A simulated launch whose new items inherit, and how good their lists are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.arrays import Doubles, Floats
from models.inheritance.alignment import Alignment
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from models.inheritance.simulation import SimulatedLaunch
from models.ranking import PLACES, ranking_quality
from models.sampling import at_most

_VALIDATION_USERS: Final = 2048


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
