"""Variants of one product, found by their data: the same buyers at the same moment, and like words.

A size or a colour that is listed as an item of its own shares its reviews or its baskets with its
sisters. If one is hidden and its sister is not, a simulated launch is easier than a real one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.arrays import Rows
from models.interactions import Interactions

_SHARED_EVENTS: Final = 3
_SHARED_PART: Final = 0.5
_LIKE_WORDS: Final = 0.3


def variant_groups(interactions: Interactions, terms: sp.csr_matrix) -> npt.NDArray[np.int32]:
    """A group for each item; variants of one product have the same.

    Two items are variants if they share three events (user, time and rating) and half of those of
    the rarer one, and if their terms have a cosine above 0.3. Where the shop noted one moment for
    everything, a shared one means nothing, and every item is a group of its own.

    Args:
        interactions: the train split.
        terms: float32 [I, columns], of unit length.

    Returns:
        int32 [I].
    """
    items = terms.shape[0]
    if (interactions.timestamp == interactions.timestamp[:1]).all():
        return np.arange(items, dtype=np.int32)
    event = _events(interactions)
    ones = np.ones(len(event), np.float32)
    happened = sp.csr_matrix((ones, (event, interactions.item)), (event.max() + 1, items))
    happened.data[:] = 1.0
    # What happened too seldom has no variants, and would only make the product below larger.
    can = np.asarray(happened.sum(axis=0)).ravel() >= _SHARED_EVENTS
    happened = happened @ sp.diags(can.astype(np.float32))
    happened.eliminate_zeros()
    shared = sp.triu(happened.T @ happened, k=1).tocoo()
    count = np.asarray(happened.sum(axis=0)).ravel()
    rarer = np.minimum(count[shared.row], count[shared.col])
    often = (shared.data >= _SHARED_EVENTS) & (shared.data >= _SHARED_PART * rarer)
    one, other = shared.row[often], shared.col[often]
    cosine = terms[one].multiply(terms[other]).sum(axis=1)
    alike = np.asarray(cosine).ravel() > _LIKE_WORDS
    one, other = one[alike], other[alike]
    graph = sp.csr_matrix((np.ones(len(one)), (one, other)), (items, items))
    _, group = sp.csgraph.connected_components(graph, directed=False)
    groups: npt.NDArray[np.int32] = group.astype(np.int32)
    return groups


def _events(interactions: Interactions) -> Rows:
    """A number for each interaction, equal where user, time and rating are: int64 [N]."""
    # `np.unique` of all three together compares rows as bytes, which takes five times as long.
    columns = (interactions.rating, interactions.timestamp, interactions.user)
    order = np.lexsort(columns)
    begins = np.zeros(len(order), np.bool_)
    for column in columns:
        ordered = column[order]
        begins[1:] |= ordered[1:] != ordered[:-1]
    event = np.empty(len(order), np.int64)
    event[order] = np.cumsum(begins)
    return event
