"""Whether the wording of a title alone moves scores: the same product with one more word.

A counterfactual check. Everything else stays as it is, so that whatever moves, moves by the word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.arrays import Floats
from models.companding import read_floats
from models.few_shot.evidence import inherited_logits, lent_matrix
from models.products import Product, describe
from models.sampling import at_most
from models.shelf.admission import Admission

_USERS: Final = 500


@dataclass(frozen=True)
class Shift:
    """What one more word does to the scores of P products for U users.

    Attributes:
        word: that was added to the titles.
        mean: of the absolute differences of logits.
        drift: mean of the differences themselves: whether the word helps or harms.
        worst: the greatest mean absolute difference of a product.
        title: of that product, as it was.
    """

    word: str
    mean: float
    drift: float
    worst: float
    title: str


def wording_shifts(
    model: Any, admission: Admission, products: Sequence[Product], words: Sequence[str]
) -> list[Shift]:
    """Add each word to the title of each product, and score all by the same users.

    Args:
        model: a loaded SavedModel.
        admission: the file beside it.
        products: at least one; they are scored as if they were new, whatever is on the shelf.
        words: each is put behind a title.
    """
    users = _anchor_scores(model)
    before = _logits(model, admission, products, users)
    shifts = []
    for word in words:
        reworded = [product._replace(title=f"{product.title} {word}") for product in products]
        moved = _logits(model, admission, reworded, users) - before
        each = np.abs(moved).mean(axis=0)
        worst = int(each.argmax())
        shifts.append(
            Shift(
                word=word,
                mean=float(each.mean()),
                drift=float(moved.mean()),
                worst=float(each[worst]),
                title=products[worst].title,
            )
        )
    return shifts


def _anchor_scores(model: Any) -> Floats:
    """Of some known users with anchors in their history: float32 [U, A]."""
    shelf = model._shelf
    offset, item = shelf.user_offset.numpy(), shelf.user_items.numpy()
    source, anchors = shelf.served.source.numpy(), len(shelf.served.reference_weight.numpy())
    buyer = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    users = at_most(np.unique(buyer[source[item] < anchors]), _USERS)
    history = np.zeros((len(users), anchors), np.float32)
    for row, user in enumerate(users):
        bought = source[item[offset[user] : offset[user + 1]]]
        history[row, bought[bought < anchors]] = 1.0
    scores: Floats = history @ read_floats(shelf.served, "anchor_teacher")
    return scores


def _logits(model: Any, admission: Admission, products: Sequence[Product], users: Floats) -> Floats:
    """Of U users for P products: float32 [U, P]."""
    shelf = model._shelf
    reference = shelf.served.reference_weight.numpy()
    ids = shelf.item_id.numpy()
    row_of = {item: row for row, item in enumerate(ids)}
    rows = np.array([row_of[product.item.encode()] for product in products], np.int64)
    admitted = admission(
        admission.view(describe(model, products), ids, rows),
        shelf.served.anchor_index.numpy().shape[1],
        reference=reference,
    )
    lent = lent_matrix(admitted.anchor_index, admitted.anchor_weight, len(reference))
    return inherited_logits(users, lent, reference)
