"""The index as plain files, for other engines of nearest neighbours by inner product.

A user's query is the sum of the vectors of what they bought, so no model is needed to ask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.candidates.building import lists_of, read_inheritance
from models.candidates.columns import CandidateIndex
from models.candidates.factors import lent_weights
from models.interactions import PAD
from models.kernel import Floats

ITEMS: Final = "items.npy"
ITEM_IDS: Final = "items.txt"
HISTORY: Final = "history.npy"
HISTORY_IDS: Final = "history.txt"
CENTRES: Final = "centres.npy"
LISTS: Final = "lists.npy"
EMBEDDINGS: Final = "embeddings.npy"
ABOUT: Final = "about.json"


def export_index(shelf: Any, index: CandidateIndex, folder: Path) -> int:
    """Write the files of an index.

    `items.npy` holds what `items.txt` names, float32 [I, WIDTH], all items that may be recommended;
    `history.npy` what `history.txt` names, float32 [A, WIDTH], the anchors. The product of an item
    with the sum over a history is nearly what the item inherits, with its demand.

    Args:
        shelf: of a loaded SavedModel.
        index: of that shelf.
        folder: which exists and is empty.

    Returns:
        How many items there are.
    """
    inheritance, ids = read_inheritance(shelf), shelf.item_id.numpy()
    offered = shelf.available.numpy()
    if hasattr(shelf, "rules"):
        offered = offered & shelf.rules.allowed.numpy()
    rows = np.flatnonzero(offered)
    codes = (lent_weights(inheritance, rows) @ index.item_factor).astype(np.float32)
    anchors = shelf.buyers.anchor_item.numpy()
    of = np.full(len(ids), PAD, np.int32)
    of[index.row] = lists_of(index)
    arrays: dict[str, npt.NDArray[Any] | Floats] = {
        ITEMS: codes,
        HISTORY: inheritance.anchor_teacher @ index.user_factor,
        CENTRES: index.centre,
        LISTS: of[rows],
        EMBEDDINGS: shelf.embedding.numpy()[rows].astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / name, array)
    for name, named in ((ITEM_IDS, ids[rows]), (HISTORY_IDS, ids[anchors])):
        (folder / name).write_bytes(b"".join(item + b"\n" for item in named))
    about = {"metric": "inner product", "width": codes.shape[1], "items": len(rows)}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return len(rows)
