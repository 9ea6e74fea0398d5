"""Ratings of queries over the shelf: what a user would give an item."""

from __future__ import annotations

import tensorflow as tf

from models.columns import take
from models.export.query import Query
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.purchase_chance import PurchaseChance
from models.rating import likeness, recent_places
from models.shelf.shelf import Shelf
from models.two_tower import TwoTower


class Rater(tf.Module):
    """The rating head over the shelf; with implicit feedback, the chance of a purchase."""

    def __init__(
        self, *, shelf: Shelf, inheritance: Inherited, model: TwoTower,
        chance: PurchaseChance | None,
    ) -> None:  # fmt: skip
        """Rate by the shelf and the item qualities of one of its two inheritances.

        Args:
            shelf: with the items.
            inheritance: one of its two.
            model: the towers, with the head.
            chance: of a purchase, where feedback is implicit; else None.
        """
        super().__init__(name="rater")
        self._shelf = shelf
        self._inherited = inheritance
        self._model = model
        self._chance = chance

    def __call__(self, query: Query, items: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
        """The rating of one item for each user.

        Args:
            query: B users.
            items: rows int64 [B], PAD for none.
            logit: float32 [B], retrieval's of these items.

        Returns:
            float32 [B] in [0, 1].
        """
        rating, inherited = self._by_head(query, items), self._inherited
        if self._chance is None:
            return tf.clip_by_value(rating, 0.0, 1.0)
        is_known = items != PAD
        popularity = take(inherited.log_popularity, tf.maximum(items, 0))
        return self._chance(
            rating,
            logit,
            tf.where(is_known, popularity, 0.0),
            is_anchor=inherited.anchors(items) != PAD,
            is_told=is_known & tf.reduce_any(inherited.speaks(query.history), axis=1),
        )

    def _by_head(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        known = tf.cast(items != PAD, tf.float32)[:, tf.newaxis]
        item = self._shelf.embeddings(tf.maximum(items, 0)) * known
        recent = recent_places(query.history != PAD)
        latest = tf.gather(query.history, recent, batch_dims=1)
        rating: tf.Tensor = self._model.rating(
            ratings=query.rating,
            expected=take(self._inherited.quality, tf.maximum(query.history, 0)),
            rated=query.rated,
            like=self._likeness(query.history, item),
            history=self._mean_interest(query.history),
            recent=recent,
            interests=self.interests(latest),
            present=tf.cast(latest != PAD, tf.float32),
            profile=query.profile,
            quality=take(self._inherited.quality, tf.maximum(items, 0)) * known[:, 0],
            item=item,
        )
        return rating

    def interests(self, history: tf.Tensor) -> tf.Tensor:
        """One interest per item of the history: int64 [B, H] to float32 [B, H, D], zeros pad."""
        present = tf.cast(history != PAD, tf.float32)[:, :, tf.newaxis]
        return self._shelf.embeddings(tf.maximum(history, 0)) * present

    def _likeness(self, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """Of histories int64 [B, H] to an embedding float32 [B, D] each: [B, H], zeros pad."""
        present = tf.where(history != PAD)
        own = self._shelf.embeddings(tf.gather_nd(history, present))
        cosine = tf.reduce_sum(own * tf.gather(item, present[:, 0]), axis=1)
        shape = tf.shape(history, out_type=tf.int64)
        return tf.scatter_nd(present, likeness(cosine), shape)

    def _mean_interest(self, history: tf.Tensor) -> tf.Tensor:
        """Mean of `interests` without the padding, which a long history is full of: [B, D]."""
        present = history != PAD
        places = tf.where(present)
        own = self._shelf.embeddings(tf.gather_nd(history, places))
        total = tf.math.unsorted_segment_sum(own, places[:, 0], tf.shape(history)[0])
        count = tf.reduce_sum(tf.cast(present, tf.float32), axis=1, keepdims=True)
        return total / tf.maximum(count, 1.0)
