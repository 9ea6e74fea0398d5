"""What the first interactions of an item are worth, as training learned it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import Floats
from models.few_shot import evidence


@dataclass(frozen=True)
class EvidenceWeights:
    """What evidence is worth at n numbers of interactions, rising; between two it is interpolated.

    Attributes:
        count: float32 [n], k.
        center: float32 [n, F], means of the features.
        precision: float32 [n, F], 1 / standard deviation, 0 for a feature that never varies.
        weight: float32 [n, F], in logits.
        inherit: float32 [n], of the log-ratio of inherited scores.
        own: float32 [n], of the log-ratio over the history itself.
        level: float32 [n], in logits, of an item that got as far as k.
    """

    count: Floats
    center: Floats
    precision: Floats
    weight: Floats
    inherit: Floats
    own: Floats
    level: Floats

    @classmethod
    def none(cls) -> EvidenceWeights:
        """Evidence counts for nothing: text alone."""
        width = len(evidence.FEATURES)
        zeros, row = np.zeros(1, np.float32), np.zeros((1, width), np.float32)
        return cls(np.ones(1, np.float32), row, row, row, zeros, zeros, zeros)

    def at(self, count: int) -> EvidenceWeights:
        """Those of the largest number that is not above `count`, or of the smallest: n is 1."""
        place = max(int(np.searchsorted(self.count, count, side="right")) - 1, 0)
        return EvidenceWeights(*(column[place : place + 1] for column in vars(self).values()))
