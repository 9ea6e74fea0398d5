"""Recall and NDCG of ranked lists with several relevant items, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from models.arrays import Doubles, Floats

# Of the lists that are measured, wherever nothing else is said.
PLACES: Final = 20


def ranking_quality(logits: Floats, wanted: Floats, k: int) -> tuple[Doubles, Doubles]:
    """Recall@k and NDCG@k per user, binary gains, both over min(k, wanted items).

    Args:
        logits: float32 [B, T].
        wanted: [B, T] of 0 and 1, at least one 1 a row.
        k: length of the list.
    """
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(wanted, order, axis=1)
    gains = 1.0 / np.log2(np.arange(2, order.shape[1] + 2))
    possible = np.minimum(wanted.sum(axis=1).astype(int), order.shape[1])
    ideal = np.concatenate([[0.0], np.cumsum(gains)])[possible]
    return hits.sum(axis=1) / possible, (hits * gains).sum(axis=1) / ideal


def standard_error(gains: Sequence[Doubles]) -> float:
    """Of the mean over launches, from the gain of each of their users."""
    variance = np.mean([gain.var() / len(gain) for gain in gains]) / len(gains)
    return float(np.sqrt(variance))
