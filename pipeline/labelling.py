"""Which products of the newest pushed version to have labelled first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.errors import BadInput
from models.interactions import PAD
from models.label_plan import Placed, plan_labels
from models.shelf.offered import offered_in
from models.shelf.pushed_columns import open_columns
from pipeline.layout import serving_folder
from pipeline.newest import newest_version


class Wanted(NamedTuple):
    """A product whose first interactions tell much.

    Attributes:
        item_id: its id.
        title: with category and brand.
        uncertainty: of what users think of it when its turn comes, from 0 to 1.
        density: about how many new products of average demand its label tells.
        left: share of all new products' variance that is left with its label.
    """

    item_id: str
    title: str
    uncertainty: float
    density: float
    left: float


def read_label_plan(root: Path, count: int) -> list[Wanted]:
    """Plan for the new products on the shelf that may be recommended and have no interactions yet.

    Args:
        root: the folder that `debut run` was given.
        count: products, at most.

    Raises:
        BadInput: no version was pushed, or it has no such product.
    """
    version = newest_version(serving_folder(root))
    read = open_columns(version)
    # `debut items add` takes first interactions in beside the column that training wrote.
    is_unlabelled = read("is_new") & (read("evidence/of") == PAD)
    new = np.flatnonzero(is_unlabelled & offered_in(version))
    if not len(new):
        raise BadInput(
            f"Version {version.name} has no new product without interactions that may be "
            "recommended. Add some with `debut items add`, or to the items of the data folder."
        )
    embedding = read("embedding").astype(np.float32)
    demand = read("served/log_popularity")
    candidates, labelled = (
        Placed(embedding[rows], demand[rows]) for rows in (new, np.flatnonzero(~is_unlabelled))
    )
    plan = plan_labels(candidates, labelled, count)
    ids, titles = read("item_id"), read("item_name")
    return [
        Wanted(ids[row].decode(), titles[row].decode(), *map(float, values))
        for row, *values in zip(
            new[plan.row], plan.uncertainty, plan.density, plan.left, strict=True
        )
    ]
