"""What items inherit: for each of them the anchors that lend it their scores, as shelf columns.

The shelf holds it twice. What is *served* comes from all interactions. What is *judged*, by the
`evaluate` signature, comes from the train split alone, so that the held-out interactions can tell
what the model would have done without them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.alignment import Alignment, keep_strongest
from models.columns import WIDENS
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

    An item has a list of anchors that lend it their scores; an anchor stands for itself.

    Attributes:
        source: int32 [I], the list of each item; below A it is also its place among the anchors.
        anchor_index: int16 [A + L, K], anchors of each list. The first A lists are the anchors'
            own, the next one is blank.
        anchor_weight: float16 [A + L, K].
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

    source: npt.NDArray[np.int32]
    anchor_index: npt.NDArray[np.int16] = field(metadata={WIDENS: True})
    anchor_weight: npt.NDArray[np.float16] = field(metadata={WIDENS: True})
    demand: Floats
    quality: Floats
    fallback: Floats
    anchor_teacher: Floats
    anchor_probe: Floats
    anchor_embedding: Floats
    reference_weight: Floats

    @property
    def anchor_of(self) -> npt.NDArray[np.int32]:
        """Place of each item among the anchors, PAD where it is none: int32 [I]."""
        return np.where(self.source < len(self.anchor_teacher), self.source, np.int32(PAD))

    def lists(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], Floats]:
        """Anchors int32 [N, K] that items inherit from, an anchor from itself, and the weights."""
        lists = self.source[rows]
        return self.anchor_index[lists].astype(np.int32), self.anchor_weight[lists].astype(
            np.float32
        )


def inherit(
    known: SimulatedLaunch,
    view: ItemView,
    settings: KernelSettings,
    *,
    embedding: Floats,
    quality: Floats,
    popularity: npt.NDArray[np.int64],
    covered: npt.NDArray[np.bool_],
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
        covered: bool [I], which items inherit; any other has the blank list.
        per_item: K.
    """
    own = known.anchors
    anchors, width = len(own), min(per_item, len(own))
    heirs = np.setdiff1d(np.flatnonzero(covered), own)
    source = np.full(len(embedding), anchors, np.int32)
    source[own] = np.arange(anchors, dtype=np.int32)
    source[heirs] = anchors + 1 + np.arange(len(heirs), dtype=np.int32)
    index = np.zeros((anchors + 1 + len(heirs), width), np.int16)
    weight = np.zeros((anchors + 1 + len(heirs), width), np.float16)
    index[:anchors, :1], weight[:anchors, :1] = np.arange(anchors)[:, np.newaxis], 1.0
    log_popularity = np.zeros(len(embedding), np.float32)
    log_popularity[own] = known.log_popularity
    if width:
        for rows, weights, strongest in _aligned(known, view, settings, heirs, width):
            log_popularity[rows] = known.log_popularity @ weights
            index[source[rows]], weight[source[rows]] = strongest
    inherited = Inheritance(
        source=source,
        anchor_index=index,
        anchor_weight=weight,
        demand=np.zeros(len(embedding), np.float32),
        quality=quality,
        fallback=fallback_logits(popularity, log_popularity),
        anchor_teacher=known.teacher,
        anchor_probe=_probe(embedding[own]),
        anchor_embedding=embedding[own],
        reference_weight=np.zeros(anchors, np.float32),
    )
    new = (popularity == 0) & covered
    lists = inherited.lists(np.flatnonzero(new if new.any() else covered))
    return replace(inherited, reference_weight=_mean_weight(*lists, anchors))


def _aligned(
    known: SimulatedLaunch,
    view: ItemView,
    settings: KernelSettings,
    heirs: npt.NDArray[np.int64],
    width: int,
) -> Iterator[tuple[npt.NDArray[np.int64], Floats, tuple[npt.NDArray[np.int32], Floats]]]:
    """Some rows of heirs at a time, the weights of all anchors, and the strongest of these."""
    gram = _score_gram(known)
    kernel, anchors = ItemKernel(view, settings), view.rows(known.anchors)
    alignment = Alignment(
        kernel(anchors, anchors), known.history, ridge=settings.ridge, refine=True
    )
    for start in range(0, len(heirs), _BATCH):
        rows = heirs[start : start + _BATCH]
        weights = alignment(kernel(anchors, view.rows(rows)))
        yield rows, weights, keep_strongest(weights, gram, width)


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
