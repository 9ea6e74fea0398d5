"""How an item is rated beside what its raters give to others; of a new item, by its likeness.

A rating is the mean, plus what its user gives more or less than others, plus what its item gets
(Koren 2008, baseline predictors). The item's part is a Gaussian process over the item kernel, so
that an item without ratings has one too. With implicit feedback it is 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats, Rows
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from models.inheritance.simulation import most_popular, purchase_matrix
from models.interactions import Interactions

_ROUNDS: Final = 4
_USER_SHRINKAGE: Final = 3.0
_ITEM_SHRINKAGE: Final = 3.0
_NOISE: Final = 1.0
_NOISE_OF_ONE: Final = 10.0
_CONSTANT: Final = 0.05
_BATCH: Final = 4096


@dataclass(frozen=True)
class Ratings:
    """N ratings of I items by U users.

    Attributes:
        user: int32 [N].
        item: int32 [N], rows.
        rating: float32 [N] in [0, 1].
        users: U.
        items: I.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: Floats
    users: int
    items: int

    @classmethod
    def of(cls, splits: Sequence[Interactions], *, users: int, items: int) -> Ratings:
        """Of several splits together."""
        return cls(
            user=np.concatenate([part.user for part in splits]),
            item=np.concatenate([part.item for part in splits]),
            rating=np.concatenate([part.rating for part in splits]),
            users=users,
            items=items,
        )

    def purchases(self) -> sp.csr_matrix:
        """Users x items of 0 and 1: who had to do with what."""
        return purchase_matrix(self.user, self.item, (self.users, self.items))

    def without(self, items: npt.NDArray[np.int64]) -> Ratings:
        """Those of other items."""
        return self.rows(np.flatnonzero(~np.isin(self.item, items)))

    def rows(self, rows: npt.NDArray[np.int64]) -> Ratings:
        """Some of them."""
        return Ratings(self.user[rows], self.item[rows], self.rating[rows], self.users, self.items)


class FittedQuality(NamedTuple):
    """Quality of I items by A anchors.

    Attributes:
        items: float32 [I].
        weight: float32 [A], of the anchors' kernel with an item that has no ratings.
    """

    items: Floats
    weight: Floats


def item_quality(
    ratings: Ratings, view: ItemView, settings: KernelSettings, *, max_anchors: int
) -> Floats:
    """What each item's ratings are above the mean, those of their users being equal: float32 [I].

    Of an item with ratings it is mostly its own; of one without, that of items like it.
    """
    everything = np.arange(ratings.items)
    return fit_quality(ratings, view, settings, everything, max_anchors=max_anchors).items


def quality_towards(towards: Floats, weight: Floats | Doubles) -> Floats | Doubles:
    """Quality of T items without ratings from their kernel with the anchors, float32 [A, T]."""
    quality: Floats | Doubles = (towards.T + np.float32(_CONSTANT)) @ weight
    return quality


def fit_quality(
    ratings: Ratings, view: ItemView, settings: KernelSettings, rows: Rows, *, max_anchors: int
) -> FittedQuality:
    """`item_quality` of the anchors and of `rows`, int64 [N], and what gives a later item its own.

    Of any other item it says nothing.
    """
    count = np.bincount(ratings.item, minlength=ratings.items)
    users = ratings.purchases().getnnz(axis=0)
    anchors = most_popular(users, users > 0, max_anchors)
    if not len(anchors) or (ratings.rating == ratings.rating[0]).all():
        return FittedQuality(
            np.zeros(ratings.items, np.float32), np.zeros(len(anchors), np.float32)
        )
    kernel = ItemKernel(view, settings)
    known = view.rows(anchors)
    system = kernel(known, known) + np.float32(_CONSTANT)
    noise = _NOISE + _NOISE_OF_ONE / count[anchors]
    smoother = np.linalg.inv(system + np.diag(noise).astype(np.float32))
    deviation = ratings.rating - ratings.rating.mean()
    quality = np.zeros(ratings.items)
    weights = np.zeros(len(anchors))
    for _ in range(_ROUNDS):
        user = user_level(ratings, quality)
        item_mean = _shrunk_mean(deviation - user[ratings.user], ratings.item, ratings.items, 0.0)
        weights = smoother @ item_mean[anchors]
        quality[anchors] = system @ weights
    others = np.setdiff1d(rows, anchors)
    for some in np.array_split(others, max(1, len(others) // _BATCH)):
        quality[some] = quality_towards(kernel(known, view.rows(some)), weights)
    rest = deviation - user[ratings.user] - quality[ratings.item]
    quality += _shrunk_mean(rest, ratings.item, ratings.items, _ITEM_SHRINKAGE)
    return FittedQuality(quality.astype(np.float32), weights.astype(np.float32))


def quality_as_new(
    quality: Floats,
    hands: Sequence[Rows],
    ratings: Ratings,
    view: ItemView,
    settings: KernelSettings,
    *,
    max_anchors: int,
) -> Floats:
    """`item_quality`, float32 [I], with that of each hand's items made without their own ratings.

    What a head is trained on, or it would trust the quality of a new item as that of a known one.
    """
    found = quality.copy()
    for hand in hands:
        left = fit_quality(ratings.without(hand), view, settings, hand, max_anchors=max_anchors)
        found[hand] = left.items[hand]
    return found


def user_level(ratings: Ratings, quality: Floats | Doubles) -> Doubles:
    """What a user rates above the mean and the items' quality: float64 [U], 0 without ratings."""
    above = ratings.rating - ratings.rating.mean() - quality[ratings.item]
    return _shrunk_mean(above, ratings.user, ratings.users, _USER_SHRINKAGE)


def _shrunk_mean(
    values: npt.NDArray[np.floating[npt.NBitBase]],
    group: npt.NDArray[np.int32],
    groups: int,
    shrinkage: float,
) -> Doubles:
    total = np.bincount(group, values, minlength=groups)
    count = np.bincount(group, minlength=groups)
    mean: Doubles = total / np.maximum(count + shrinkage, 1.0)
    return mean
