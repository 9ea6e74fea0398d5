"""How well new items do with more data, for the report: in closed form, and cheap enough for a run.

Everything is measured on the simulated launch that nothing was learned from, and that nothing was
chosen by, unless it is whether a fine-tuned encoder is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Floats
from models.few_shot.clock import ShopClock
from models.few_shot.revealing import Revealing
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.quality import Ratings, item_quality, user_level
from models.inheritance.simulation import SimulatedLaunch
from models.interactions import Interactions
from models.ranking import PLACES, ranking_quality
from models.record import SQUARED_ERROR, MeasuredPoint
from models.sampling import at_most

FIRST: Final = (0, 1, 2, 5, 10)
SHARES: Final = (1, 5, 20, 100)  # per cent
RECALL: Final = "recall"
_USERS: Final = 2048
_SEED: Final = 0


def by_first_interactions(
    aligned: AlignedLaunch,
    interactions: Interactions,
    clock: ShopClock,
    weights: EvidenceWeights,
    *,
    anchors_per_item: int,
) -> list[MeasuredPoint]:
    """Recall@20 of launched items once k first interactions of each are known.

    The same items and the same later interactions are predicted at every k: those after the largest
    k that enough items get beyond.

    Args:
        aligned: a launch that `weights` were not learned from.
        interactions: the train split.
        clock: of the shop.
        weights: of the evidence.
        anchors_per_item: K.

    Returns:
        A point for each k; none where too few items get beyond one interaction.
    """
    if not len(aligned.launch.users):
        return []
    revealing = Revealing(aligned, interactions, clock, anchors_per_item)
    last = max((count for count in FIRST[1:] if revealing.is_enough(count)), default=-1)
    points = []
    for count in FIRST:
        # Of items whose first interaction is known, the text alone is what k = 0 has.
        launched = revealing.reveal(max(count, 1), tested_after=last) if count <= last else None
        if launched is not None:
            recall = launched.recall(weights.at(count) if count else None)
            points.append(MeasuredPoint(at=count, values={RECALL: recall}))
    return points


def by_labelled_share(
    ratings: Ratings,
    launch: SimulatedLaunch,
    views: Mapping[str, ItemView],
    settings: KernelSettings,
    *,
    regularization: float,
) -> list[MeasuredPoint]:
    """Recall@20 and squared error of launched items, had the shop fewer interactions.

    A share of all interactions is drawn, a smaller one out of the larger one. It is all that
    histories, anchors, teacher and ratings are made of; who wants what stays the same. Users
    without any interaction left are asked for what everybody wants.

    Args:
        ratings: the train split.
        launch: whose targets are predicted.
        views: the catalogue, by name, as different kernels see it.
        settings: of the kernels.
        regularization: of the teacher.

    Returns:
        A point for each share in per cent; `squared_error` is left out where all ratings are equal.
    """
    users = at_most(launch.users, _USERS)
    if not len(users):
        return []
    draw = 100 * np.random.default_rng(_SEED).random(len(ratings.rating))
    points = []
    for percent in SHARES:
        kept = ratings.rows(np.flatnonzero(draw <= percent))
        known = launch if percent == 100 else _with_less(launch, kept, regularization)
        values: dict[str, float] = {}
        for name, view in views.items():
            values[f"{RECALL}, {name}"] = inherited_recall(
                known, users, launch.wanted[users], view, settings
            )
            error = _squared_error(ratings, kept, launch, view, settings)
            if error is not None:
                values[f"{SQUARED_ERROR}, {name}"] = error
        points.append(MeasuredPoint(at=percent, values=values))
    return points


def inherited_recall(
    known: SimulatedLaunch,
    users: npt.NDArray[np.int64],
    wanted: sp.csr_matrix,
    view: ItemView,
    settings: KernelSettings,
) -> float:
    """Recall@20 of what a launch's targets inherit; who bought no anchor is asked as everybody is.

    Args:
        known: whose histories and anchors are read.
        users: rows [B] of those who are asked.
        wanted: B users x targets of 0 and 1.
        view: the catalogue.
        settings: of the kernel.
    """
    weights = AlignedLaunch.align(known, view, settings).weights
    history = known.history[users]
    scores: Floats = history @ known.teacher
    scores[history.getnnz(axis=1) == 0] = np.asarray(known.history.mean(axis=0)) @ known.teacher
    recall, _ = ranking_quality(scores @ weights, wanted.toarray(), PLACES)
    return float(recall.mean())


def without_encoder(view: ItemView) -> ItemView:
    """The catalogue as a kernel of words alone sees it, on the scale of the one with an encoder."""
    return view._replace(text=np.zeros_like(view.text), terms=view.terms * np.float32(2**0.5))


def _with_less(launch: SimulatedLaunch, kept: Ratings, regularization: float) -> SimulatedLaunch:
    purchases = kept.purchases()
    sold = purchases.getnnz(axis=0)[launch.anchors] > 0
    return SimulatedLaunch.hide(
        purchases, targets=launch.targets, anchors=launch.anchors[sold],
        regularization=regularization,
    )  # fmt: skip


def _squared_error(
    ratings: Ratings,
    kept: Ratings,
    launch: SimulatedLaunch,
    view: ItemView,
    settings: KernelSettings,
) -> float | None:
    """Of the mean, the user's level and the item's quality, which the rating head starts from."""
    if (ratings.rating == ratings.rating[0]).all():
        return None
    tested = np.flatnonzero(np.isin(ratings.item, launch.targets))
    known = kept.without(launch.targets)
    if not len(known.rating) or not len(tested):
        return None
    quality = item_quality(known, view, settings, max_anchors=max(len(launch.anchors), 1))
    level = user_level(known, quality)
    predicted = known.rating.mean() + level[ratings.user[tested]] + quality[ratings.item[tested]]
    return float(np.mean((np.clip(predicted, 0.0, 1.0) - ratings.rating[tested]) ** 2))
