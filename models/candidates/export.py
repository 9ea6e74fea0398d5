"""Vectors of items and of what users bought, for other engines of nearest neighbours.

Their inner product is nearly the score. A user's query is the sum of the vectors of what they
bought, so no model is needed to ask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Floats
from models.candidates.building import heirs_among, read_inheritance
from models.candidates.factors import Factors, fit_factors, lent_weights
from models.inheritance.anchors import Inheritance
from models.shelf.offered import offered

ITEMS: Final = "items.npy"
ITEM_IDS: Final = "items.txt"
HISTORY: Final = "history.npy"
HISTORY_IDS: Final = "history.txt"
EMBEDDINGS: Final = "embeddings.npy"
ABOUT: Final = "about.json"
# Users and items to which the vectors are fitted.
_USERS: Final = 2048
_ITEMS: Final = 1 << 14
_SEED: Final = 1
# Of an anchor in the fit, where an item that inherits counts 1. An anchor has its own score alone,
# an heir the mean of many, which takes fewer numbers to tell. Fitted to heirs only, anchors were
# hardly told apart; at 1 they would take what tells new items apart.
_OF_ANCHORS: Final = 0.2


def export_vectors(shelf: Any, folder: Path) -> int:
    """Write the files of a shelf on which not every item is an anchor.

    `items.npy` holds what `items.txt` names, float32 [I, WIDTH], all items that may be recommended;
    `history.npy` what `history.txt` names, float32 [A, WIDTH], the anchors. The product of an item
    with the sum over a history is nearly what the item inherits, with its demand.

    Args:
        shelf: of a loaded SavedModel.
        folder: which exists and is empty.

    Returns:
        How many items there are.
    """
    inheritance, ids = read_inheritance(shelf), shelf.item_id.numpy()
    rows = np.flatnonzero(offered(shelf))
    factors = _fitted(inheritance, shelf.user_items.numpy(), shelf.user_offset.numpy())
    vectors = (lent_weights(inheritance, rows) @ factors.item).astype(np.float32)
    anchors = shelf.buyers.anchor_item.numpy()
    arrays: dict[str, npt.NDArray[Any]] = {
        ITEMS: vectors,
        HISTORY: inheritance.anchor_teacher @ factors.user,
        EMBEDDINGS: shelf.embedding.numpy()[rows].astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / name, array)
    for name, named in ((ITEM_IDS, ids[rows]), (HISTORY_IDS, ids[anchors])):
        (folder / name).write_bytes(b"".join(item + b"\n" for item in named))
    about = {"metric": "inner product", "width": vectors.shape[1], "items": len(rows)}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return len(rows)


def _fitted(
    inheritance: Inheritance, bought: npt.NDArray[np.int32], offset: npt.NDArray[np.int64]
) -> Factors:
    """Fitted to a sample of the users and of the items that are no anchors, and to the anchors.

    Args:
        inheritance: what is served.
        bought: int32 [N], rows of purchases, user by user.
        offset: int64 [U + 1], where each user's part of them begins.
    """
    random = np.random.default_rng(_SEED)
    rows = np.arange(len(inheritance.source))
    heirs = heirs_among(inheritance, rows)
    sample = np.sort(random.permutation(heirs)[:_ITEMS])
    scores = _sampled_scores(inheritance, bought, offset, random)
    anchors = lent_weights(inheritance, np.setdiff1d(rows, heirs)) * _OF_ANCHORS
    return fit_factors(scores, sp.vstack([lent_weights(inheritance, sample), anchors], "csr"))


def _sampled_scores(
    inheritance: Inheritance,
    bought: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> Floats:
    """The anchors' scores of a sample of users: float32 [U, A]."""
    teacher, users = inheritance.anchor_teacher, len(offset) - 1
    sample = np.sort(random.choice(users, min(users, _USERS), replace=False))
    scores = np.zeros((len(sample), len(teacher)), np.float32)
    for place, user in enumerate(sample):
        source = inheritance.source[bought[offset[user] : offset[user + 1]]]
        scores[place] = teacher[source[source < len(teacher)]].sum(axis=0)
    return scores
