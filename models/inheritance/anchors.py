"""What items inherit: for each of them the anchors that lend it their scores, as shelf columns.

The shelf holds it twice. What is *served* comes from all interactions. What is *judged*, by the
`evaluate` signature, comes from the train split alone, so that the held-out interactions can tell
what the model would have done without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Rows
from models.columns import ROUNDS, WIDENS
from models.inheritance.aligner import Aligner
from models.inheritance.back_off import BackOff
from models.inheritance.kernel import ItemView
from models.inheritance.reference import reference_weight
from models.inheritance.simulation import SimulatedLaunch
from models.interactions import PAD
from models.rules import Ruled

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
        quality: float32 [I], of `models.inheritance.quality`.
        log_popularity: float32 [I], an anchor's own, that which the anchors predict of any other;
            orders the new items in `fallback`.
        fallback: float32 [I], logit for a user of whom nothing is known.
        anchor_teacher: float32 [A, A], co-purchase scores: of a row's buyer for each column.
        anchor_probe: float32 [D, A], from the anchors' scores to the direction in which the
            embeddings tell them best: ridge regression, (EᵀE + λ)⁻¹ Eᵀ.
        anchor_embedding: float32 [A, D], of the anchors.
        reference_weight: float32 [A], of `models.inheritance.reference`, which a score is
            relative to.
    """

    source: npt.NDArray[np.int32]
    anchor_index: npt.NDArray[np.int16] = field(metadata={WIDENS: True})
    anchor_weight: npt.NDArray[np.float16] = field(metadata={WIDENS: True})
    demand: Floats
    quality: Floats
    log_popularity: Floats
    fallback: Floats
    anchor_teacher: Floats = field(metadata={ROUNDS: True})
    anchor_probe: Floats = field(metadata={ROUNDS: True})
    anchor_embedding: Floats = field(metadata={ROUNDS: True})
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

    def to_judge(self) -> Inheritance:
        """Without what finds candidates or reads texts: who judges, scores every item."""
        return replace(
            self, anchor_probe=self.anchor_probe[:0], anchor_embedding=self.anchor_embedding[:0]
        )


def inherit(
    known: SimulatedLaunch,
    view: ItemView,
    aligner: Aligner,
    *,
    embedding: Floats,
    quality: Floats,
    popularity: npt.NDArray[np.int64],
    covered: npt.NDArray[np.bool_],
    offered: npt.NDArray[np.bool_],
    per_item: int,
    rules: Ruled | None = None,
) -> Inheritance:
    """Align every item with the anchors; an anchor stands for itself.

    Args:
        known: a launch whose anchors are the seen items; its targets are not used.
        view: the catalogue as the kernel sees it.
        aligner: of these anchors.
        embedding: float32 [I, D] of the catalogue.
        quality: float32 [I].
        popularity: int64 [I], users of each item.
        covered: bool [I], which items inherit; any other has the blank list.
        offered: bool [I], which may be recommended.
        per_item: K.
        rules: of the items, which may let some inherit from their category; None without any.
    """
    own = known.anchors
    back_off = BackOff(rules.level[own], known.log_popularity) if rules is not None else None
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
    for start in range(0, len(heirs), _BATCH):
        rows = heirs[start : start + _BATCH]
        aligned = aligner(view.rows(rows), width)
        if back_off is not None and rules is not None:
            aligned = back_off(aligned, rules.level[rows], rules.backs_off[rows])
        log_popularity[rows] = aligned.log_popularity
        index[source[rows]], weight[source[rows]] = aligned.anchor, aligned.weight
    inherited = Inheritance(
        source=source,
        anchor_index=index,
        anchor_weight=weight,
        demand=np.zeros(len(embedding), np.float32),
        quality=quality,
        log_popularity=log_popularity,
        fallback=fallback_logits(popularity, log_popularity, offered),
        anchor_teacher=known.teacher,
        anchor_probe=_probe(embedding[own]),
        anchor_embedding=embedding[own],
        reference_weight=np.zeros(anchors, np.float32),
    )
    new = np.flatnonzero((popularity == 0) & covered)
    places, weights = inherited.lists(new)
    lent = np.bincount(places.ravel(), weights.ravel(), minlength=anchors).astype(np.float32)
    return replace(inherited, reference_weight=reference_weight(lent, len(new)))


def _probe(embedding: Floats) -> Floats:
    gram = embedding.T @ embedding + _PROBE_RIDGE * np.eye(embedding.shape[1], dtype=np.float32)
    probe: Floats = np.linalg.solve(gram, embedding.T).astype(np.float32)
    return probe


def fallback_logits(
    interactions: npt.NDArray[np.int64], popularity: Floats, offered: npt.NDArray[np.bool_]
) -> Floats:
    """Popular items with room for new ones, as logits of a Zipf law over the ranks.

    Args:
        interactions: int64 [I], of each item; an item without any is new.
        popularity: float32 [I], predicted; orders the new products among themselves.
        offered: bool [I], which may be recommended; any other stands behind all of these.

    Returns:
        float32 [I].
    """
    is_new = interactions == 0
    best = np.lexsort((np.where(is_new, -popularity, 0.0), -interactions))
    # Each kind by itself: what is in no list would take its turns from what is.
    order = np.concatenate([_in_turns(best[kind[best]], is_new) for kind in (offered, ~offered)])
    logits = np.empty(len(order), np.float32)
    logits[order] = -np.log(np.arange(1, len(order) + 1))
    return logits


def _in_turns(best: Rows, is_new: npt.NDArray[np.bool_]) -> Rows:
    """Rows int64 [N] of which the best come first, new and sold ones in turns: int64 [N]."""
    new = is_new[best]
    sold_before, new_before = np.cumsum(~new) - 1, np.cumsum(new) - 1
    place_of_sold = sold_before + (sold_before - _FIRST_NEW_PLACE) // (_NEW_ITEM_EVERY - 1) + 1
    place_of_new = _FIRST_NEW_PLACE + _NEW_ITEM_EVERY * new_before
    in_turns: Rows = best[np.argsort(np.where(new, place_of_new, place_of_sold))]
    return in_turns
