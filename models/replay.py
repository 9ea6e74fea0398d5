"""Experience replay: a bounded sample of what was learned before, among what is new.

Gradient descent on new rows alone drifts away from what older rows taught; a few of those among
them keep it (Rolnick et al. 2019, "Experience Replay for Continual Learning"). A uniform sample is
the plainest memory and a good one (Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual
Learning").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.arrays import Rows
from models.features import TRAIN
from models.options import TrainerOptions
from models.shop_data import ShopData
from models.training_state import TrainingState


def replayed(
    span: npt.NDArray[np.int32], *, latest: int, count: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """Rows that training draws from: those of the latest span, and a uniform sample of older ones.

    Args:
        span: int32 [N], of each row.
        latest: the newest span.
        count: older rows at most; None takes all.
        seed: of the sample. The same rows and seed give the same sample.

    Returns:
        int64 [M], rising.
    """
    older = np.flatnonzero(span < latest)
    if count is not None and count < len(older):
        older = np.random.default_rng(seed).choice(older, count, replace=False)
    return np.sort(np.concatenate([older, np.flatnonzero(span >= latest)]))


def sampled_rows(data: ShopData, options: TrainerOptions, base: TrainingState | None) -> Rows:
    """Rows of the train split that gradient descent draws from: int64 [M].

    A model that starts anew without being asked to has nothing that it could forget; it learns from
    all of them.
    """
    is_bounded = base is not None or options.continual.start == "fresh"
    return replayed(
        data.splits[TRAIN].span,
        latest=data.span,
        count=options.continual.replay if is_bounded else None,
        seed=options.training.seed,
    )
