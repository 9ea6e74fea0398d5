"""What items inherit: for each of them the anchors that lend it their scores, as shelf columns.

The shelf holds it twice. What is *served* comes from all interactions. What is *judged*, by the
`evaluate` signature, comes from the train split alone, so that the held-out interactions can tell
what the model would have done without them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.alignment import Alignment, keep_strongest
from models.interactions import PAD
from models.kernel import Floats, ItemKernel, ItemView, KernelSettings
from models.simulation import SimulatedLaunch

_BATCH: Final = 1024
_PROBE_RIDGE: Final = 1.0
# In a list for somebody unknown, every fifth place is a new product's.
_NEW_ITEM_EVERY: Final = 5
_FIRST_NEW_PLACE: Final = 2


@dataclass(frozen=True)
class Inheritance:
    """Columns for I items, A anchors and K anchors an item.

    Attributes:
        anchor_index: int32 [I, K], anchors whose scores an item inherits.
        anchor_weight: float32 [I, K].
        anchor_of: int32 [I], the item's own place among the anchors, PAD where it is none.
        demand: float32 [I], logit, 0 for an item of which nothing special is known.
        quality: float32 [I], of `models.quality`.
        fallback: float32 [I], logit for a user of whom nothing is known.
        anchor_teacher: float32 [A, A], co-purchase scores: of a row's buyer for each column.
        anchor_probe: float32 [D, A], from the anchors' scores to the direction in which the
            embeddings tell them best: ridge regression, (EᵀE + λ)⁻¹ Eᵀ.
        anchor_embedding: float32 [A, D], of the anchors.
        reference_weight: float32 [A], mean weights of the items without interactions, which a score
            is relative to; of all items where there are none.
    """

    anchor_index: npt.NDArray[np.int32]
    anchor_weight: Floats
    anchor_of: npt.NDArray[np.int32]
    demand: Floats
    quality: Floats
    fallback: Floats
    anchor_teacher: Floats
    anchor_probe: Floats
    anchor_embedding: Floats
    reference_weight: Floats


@dataclass(frozen=True)
class _Lent:
    """What each of I items takes over from K anchors, and its popularity, seen or predicted."""

    index: npt.NDArray[np.int32]
    weight: Floats
    log_popularity: Floats


def inherit(
    known: SimulatedLaunch,
    view: ItemView,
    settings: KernelSettings,
    *,
    embedding: Floats,
    quality: Floats,
    popularity: npt.NDArray[np.int64],
    per_item: int,
) -> Inheritance:
    """Align every item with the anchors; an anchor stands for itself.

    Args:
        known: a launch whose anchors are the seen items; its targets are not used.
        view: the catalogue as the kernel sees it.
        settings: of the kernel.
        embedding: float32 [I, D] of the catalogue.
        quality: float32 [I].
        popularity: int64 [I], users of each item.
        per_item: K.
    """
    anchor_of = np.full(len(embedding), PAD, np.int32)
    anchor_of[known.anchors] = np.arange(len(known.anchors), dtype=np.int32)
    lent = _lend(known, view, settings, anchor_of, per_item)
    new = popularity == 0
    rows = np.flatnonzero(new) if new.any() else np.arange(len(embedding))
    return Inheritance(
        anchor_index=lent.index,
        anchor_weight=lent.weight,
        anchor_of=anchor_of,
        demand=np.zeros(len(embedding), np.float32),
        quality=quality,
        fallback=fallback_logits(popularity, lent.log_popularity),
        anchor_teacher=known.teacher,
        anchor_probe=_probe(embedding[known.anchors]),
        anchor_embedding=embedding[known.anchors],
        reference_weight=_mean_weight(lent.index[rows], lent.weight[rows], len(known.anchors)),
    )


def _lend(
    known: SimulatedLaunch,
    view: ItemView,
    settings: KernelSettings,
    anchor_of: npt.NDArray[np.int32],
    per_item: int,
) -> _Lent:
    own = known.anchors
    width = min(per_item, len(own))
    index = np.zeros((len(anchor_of), width), np.int32)
    weight = np.zeros((len(anchor_of), width), np.float32)
    log_popularity = np.zeros(len(anchor_of), np.float32)
    others = np.flatnonzero(anchor_of == PAD)
    if len(own):
        index[own, 0], weight[own, 0] = anchor_of[own], 1.0
        log_popularity[own] = known.log_popularity
    if len(own) and len(others):
        gram = _score_gram(known)
        alignment = Alignment(
            ItemKernel(view, settings), view.rows(own), known.history,
            ridge=settings.ridge, refine=True,
        )  # fmt: skip
        for start in range(0, len(others), _BATCH):
            rows = others[start : start + _BATCH]
            weights = alignment(view.rows(rows))
            index[rows], weight[rows] = keep_strongest(weights, gram, width)
            log_popularity[rows] = known.log_popularity @ weights
    return _Lent(index, weight, log_popularity)


def _score_gram(known: SimulatedLaunch) -> npt.NDArray[np.float64]:
    """Mean over the users of the products of their anchor scores: float64 [A, A]."""
    count = len(known.anchors)
    total = np.zeros((count, count))
    for start in range(0, known.history.shape[0], _BATCH):
        scores = known.history[start : start + _BATCH] @ known.teacher
        total += scores.T @ scores
    gram: npt.NDArray[np.float64] = total / max(known.history.shape[0], 1)
    return gram


def _probe(embedding: Floats) -> Floats:
    gram = embedding.T @ embedding + _PROBE_RIDGE * np.eye(embedding.shape[1], dtype=np.float32)
    probe: Floats = np.linalg.solve(gram, embedding.T).astype(np.float32)
    return probe


def _mean_weight(index: npt.NDArray[np.int32], weight: Floats, anchors: int) -> Floats:
    total = np.bincount(index.ravel(), weight.ravel(), minlength=anchors)
    return (total / max(len(index), 1)).astype(np.float32)


def fallback_logits(interactions: npt.NDArray[np.int64], popularity: Floats) -> Floats:
    """Popular items with room for new ones, as logits of a Zipf law over the ranks.

    Args:
        interactions: int64 [I], of each item; an item without any is new.
        popularity: float32 [I], predicted; orders the new products among themselves.

    Returns:
        float32 [I].
    """
    unsold = np.flatnonzero(interactions == 0)
    new = deque(unsold[np.argsort(-popularity[unsold], kind="stable")])
    sold = np.flatnonzero(interactions)
    old = deque(sold[np.argsort(-interactions[sold], kind="stable")])
    order: list[int] = []
    while new or old:
        is_new_turn = new and (not old or len(order) % _NEW_ITEM_EVERY == _FIRST_NEW_PLACE)
        order.append(new.popleft() if is_new_turn else old.popleft())
    logits = np.empty(len(interactions), np.float32)
    logits[order] = -np.log(np.arange(1, len(interactions) + 1))
    return logits
