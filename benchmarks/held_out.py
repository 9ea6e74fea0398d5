"""The real launch of a shop's data: the items that ingestion held out as if new."""

from __future__ import annotations

import numpy as np

from models import features
from models.inheritance.simulation import SimulatedLaunch, purchase_matrix
from models.options import TrainerOptions
from models.shelf.filling import anchors_of
from models.shop_data import ShopData


def held_out(data: ShopData, options: TrainerOptions) -> SimulatedLaunch:
    """The real launch: items that were held out, asked of what the train split knows."""
    known = data.train.purchases()
    new = data.splits[features.NEW_ITEMS]
    return SimulatedLaunch.hide(
        known + purchase_matrix(new.user, new.item, known.shape),
        targets=np.unique(new.item).astype(np.int64),
        anchors=anchors_of(known, options.model),
        regularization=options.model.teacher_regularization,
    )
