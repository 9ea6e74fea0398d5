"""Self-training: what the closed form is surest of, taken for purchases when pairs are drawn.

Yarowsky 1995; Lee 2013, "Pseudo-label". So texts of items that nobody has bought yet take part in
the fine-tuning of the encoder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import scipy.sparse as sp

from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.simulation import MOST_TARGETS, SimulatedLaunch
from models.sampling import at_most

_USERS: Final = 512


def confident_pairs(
    launch: SimulatedLaunch, view: ItemView, settings: KernelSettings, count: int
) -> sp.csr_matrix:
    """The user-item pairs with the highest scores among items that are no anchors of the launch.

    The launch's targets are among these items, but what was bought of them is not looked at. Of
    more than `MOST_TARGETS` such items, that many are drawn.

    Args:
        launch: a simulated one.
        view: the catalogue of I items as the kernel sees it.
        settings: of the kernel.
        count: pairs, at most.

    Returns:
        users x I of 0 and 1.
    """
    users, items = launch.history.shape[0], len(view.text)
    others = at_most(np.setdiff1d(np.arange(items), launch.anchors), MOST_TARGETS)
    aligned = AlignedLaunch.align(replace(launch, targets=others), view, settings)
    score, user, item = np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, users, _USERS):
        scores = (launch.history[start : start + _USERS] @ launch.teacher) @ aligned.weights
        row, place = np.nonzero(scores > 0)
        score = np.concatenate([score, scores[row, place]])
        user = np.concatenate([user, row + start])
        item = np.concatenate([item, others[place]])
        kept = np.argsort(-score, kind="stable")[:count]
        score, user, item = score[kept], user[kept], item[kept]
    return sp.csr_matrix((np.ones(len(score), np.float32), (user, item)), (users, items))
