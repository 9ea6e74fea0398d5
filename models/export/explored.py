"""Lists with new items on a share of their places, to learn how wanted they are."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from models.columns import Columns
from models.exploration.exploration import OUT, Lists, explore, request_seeds
from models.export.groups import at_once, in_groups
from models.export.lists import BestItems, Wanted, is_listed
from models.export.query import Query, never_recommended
from models.export.scoring import Scorer
from models.shelf.shelf import Shelf

_ANSWERED: Final = Lists(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.float32),
)


class ExploredLists(tf.Module):
    """Puts new items into lists, by the state of the bandit on the shelf."""

    def __init__(self, *, shelf: Shelf, scorer: Scorer) -> None:
        """Explore by the scores of what is served."""
        super().__init__(name="explored_lists")
        self._shelf = shelf
        self._scorer = scorer
        self._columns: Columns = shelf.exploration

    def __call__(
        self, query: Query, usual: BestItems, wanted: Wanted, *, user_id: tf.Tensor,
        history: tf.Tensor,
    ) -> Lists:  # fmt: skip
        """Lists with the explored share of their places given to new items.

        Args:
            query: B users.
            usual: their lists without exploration.
            wanted: what the lists are to hold.
            user_id: string [B], of the request: it decides by which draw is explored.
            history: string [B, H], likewise.
        """
        exploration, (allowed, k, boost) = self._columns, wanted
        lists = Lists(*usual, tf.ones_like(usual[0]))

        def of_group(asked: tuple[Query, Lists, tf.Tensor]) -> Lists:
            users, lists, seeds = asked
            new = tf.tile(exploration.row[tf.newaxis], [tf.shape(seeds)[0], 1])
            stays = tf.gather(allowed, new) & ~is_listed(new, never_recommended(users, self._shelf))
            logits = self._scorer.logits_at(users, new)
            if boost is not None:
                logits += tf.gather(boost, new)
            return explore(exploration, lists, tf.where(stays, logits, OUT), seeds, k)

        def explores() -> Lists:
            seeds = request_seeds(exploration, user_id, history)
            together = at_once(tf.size(exploration.draw))
            found: Lists = in_groups(of_group, (query, lists, seeds), together, _ANSWERED)
            return found

        is_on = (exploration.share[0] > 0.0) & (tf.size(exploration.row) > 0)
        found: Lists = tf.cond(is_on, explores, lambda: lists)
        return found
