"""Simulated new items: some seen items are hidden and must be predicted from the others.

A hidden item is hidden everywhere: from histories, from the anchors, and from the teacher. That
is what a product without any interaction looks like, so what is learned here carries over.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Doubles, Floats, Rows
from models.companding import rooted, squared
from models.inheritance.ease import ease
from models.sampling import at_most

# EASE keeps an item from explaining itself; what is like a bought item is wanted all the same.
_OWN: Final = 0.3
# Weights and scores of a launch are dense, [anchors, targets] and [users, targets].
MOST_TARGETS: Final = 8192


@dataclass(frozen=True)
class SimulatedLaunch:
    """Predict users' purchases among `targets` from their purchases among `anchors`.

    Attributes:
        targets: rows [T] of the items that play the new ones.
        anchors: rows [A] of the items that are known.
        history: users x anchors of 0 and 1.
        wanted: users x targets of 0 and 1.
        teacher: EASE weights among the anchors, and a little for an item itself, float32 [A, A].
        log_popularity: log(1 + interactions) of the anchors less its mean, float32 [A].
        users: rows of the users with something on both sides.
    """

    targets: Rows
    anchors: Rows
    history: sp.csr_matrix
    wanted: sp.csr_matrix
    teacher: Floats
    log_popularity: Floats
    users: Rows

    @classmethod
    def hide(
        cls, purchases: sp.csr_matrix, *, targets: Rows, anchors: Rows, regularization: float
    ) -> SimulatedLaunch:
        """Hide `targets` from a users x items matrix and keep `anchors`."""
        history = purchases[:, anchors].tocsr()
        wanted = purchases[:, targets].tocsr()
        both = (history.getnnz(axis=1) > 0) & (wanted.getnnz(axis=1) > 0)
        teacher = ease(history, regularization)
        np.fill_diagonal(teacher, _OWN)
        return cls(
            targets=targets,
            anchors=anchors,
            history=history,
            wanted=wanted,
            teacher=teacher,
            log_popularity=_centred(np.log1p(history.getnnz(axis=0))).astype(np.float32),
            users=np.flatnonzero(both),
        )

    def small(self) -> SimulatedLaunch:
        """With the scores of the anchors as a small model keeps them."""
        return replace(self, teacher=squared(*rooted(self.teacher)))


def _centred(values: Doubles) -> Doubles:
    return values - values.mean() if len(values) else values


def launches(
    purchases: sp.csr_matrix,
    item_ids: npt.NDArray[np.object_],
    groups: npt.NDArray[np.int32],
    *,
    folds: int,
    max_anchors: int,
    regularization: float,
    made: int | None = None,
) -> tuple[list[SimulatedLaunch], SimulatedLaunch]:
    """Training launches, and one more that tells what was chosen and learned on them.

    Items are dealt to `folds + 1` hands by a hash of their id, variants of one product together.
    The last hand is kept for that; each other one is hidden in turn while the rest, without the
    last one, are known. Of a hand with more than `MOST_TARGETS` items, that many are drawn as
    targets, and the others are hidden all the same.

    Args:
        purchases: users x items of 0 and 1, the train split.
        item_ids: ids of the items.
        groups: equal for variants of one product, int32 [I].
        folds: number of training launches.
        max_anchors: the most popular that many items become anchors.
        regularization: of the teacher.
        made: how many of the training launches are made; None makes all.
    """
    popularity = purchases.getnnz(axis=0)
    hand = dealt(item_ids, groups, folds + 1)
    seen = popularity > 0

    def launch(targets: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> SimulatedLaunch:
        return SimulatedLaunch.hide(
            purchases,
            targets=at_most(np.flatnonzero(targets), MOST_TARGETS),
            anchors=most_popular(popularity, known, max_anchors),
            regularization=regularization,
        )

    training = seen & (hand < folds)
    return (
        [launch(training & (hand == f), training & (hand != f)) for f in range(folds)[:made]],
        launch(seen & (hand == folds), training),
    )


def dealt(
    item_ids: npt.NDArray[np.object_], groups: npt.NDArray[np.int32], hands: int
) -> npt.NDArray[np.int64]:
    """A hand for each item, int64 [I]; the lowest id of a group draws for all of it."""
    drawer: dict[int, bytes] = {}
    for item, group in zip(item_ids, groups, strict=True):
        drawer[group] = min(item, drawer.get(group, item))
    return np.array([zlib.crc32(drawer[group]) % hands for group in groups])


def most_popular(
    popularity: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], limit: int
) -> Rows:
    """The `limit` most popular allowed rows, in row order; ties go to the lower row."""
    rows = np.flatnonzero(allowed)
    best = rows[np.argsort(-popularity[rows], kind="stable")[:limit]]
    return np.sort(best)


def purchase_matrix(
    user: npt.NDArray[np.int32], item: npt.NDArray[np.int32] | Rows, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Users x items of 0 and 1, repeated purchases counted once."""
    matrix = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
