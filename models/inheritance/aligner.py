"""Aligns items with one set of anchors: which of them lend an item their scores, and how much.

Made in training for the whole catalogue, and kept beside the model for products that come later
(`models.shelf.admission`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Doubles, Floats
from models.inheritance.alignment import Alignment, keep_strongest
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from models.inheritance.simulation import SimulatedLaunch

_BATCH: Final = 1024


class Aligned(NamedTuple):
    """T items beside the anchors.

    Attributes:
        anchor: int32 [T, K], places of the anchors that are kept.
        weight: float32 [T, K], theirs.
        log_popularity: float32 [T], as all anchors predict it.
        towards: float32 [A, T], the kernel of the anchors with the items.
    """

    anchor: npt.NDArray[np.int32]
    weight: Floats
    log_popularity: Floats
    towards: Floats


@dataclass(frozen=True)
class Aligner:
    """A anchors and the regression on them.

    Attributes:
        anchors: as the kernel sees them.
        kernel: of items.
        alignment: the regression.
        gram: [A, A], mean over the users of the products of their anchor scores: float64 where it
            was made, float32 where it was read.
        log_popularity: float32 [A], as `models.inheritance.simulation` centres it.
    """

    anchors: ItemView
    kernel: ItemKernel
    alignment: Alignment
    gram: npt.NDArray[np.floating[Any]]
    log_popularity: Floats

    @classmethod
    def of(
        cls, known: SimulatedLaunch, view: ItemView, settings: KernelSettings,
        among: Floats | None = None,
    ) -> Aligner:  # fmt: skip
        """With the anchors of a launch, whose targets are not used.

        Args:
            known: at least one anchor.
            view: the catalogue.
            settings: of the kernel.
            among: float32 [A, A], kernel of the anchors, if it is known already.
        """
        kernel, anchors = ItemKernel(view, settings), view.rows(known.anchors)
        if among is None:
            among = kernel(anchors, anchors)
        return cls(
            anchors=anchors,
            kernel=kernel,
            alignment=Alignment(among, known.history, ridge=settings.ridge, refine=True),
            gram=_score_gram(known),
            log_popularity=known.log_popularity,
        )

    def __call__(self, items: ItemView, width: int) -> Aligned:
        """Align T items; each keeps `width` anchors."""
        # In the order in which LAPACK takes it.
        towards = self.kernel(items, self.anchors).T
        weights = self.alignment(towards)
        index, weight = keep_strongest(weights, self.gram, width)
        return Aligned(index, weight, self.log_popularity @ weights, towards)


def _score_gram(known: SimulatedLaunch) -> Doubles:
    count = len(known.anchors)
    total = np.zeros((count, count))
    for start in range(0, known.history.shape[0], _BATCH):
        scores = known.history[start : start + _BATCH] @ known.teacher
        total += scores.T @ scores
    gram: Doubles = total / max(known.history.shape[0], 1)
    return gram
