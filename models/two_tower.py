"""The two towers and their heads as one trainable module."""

from __future__ import annotations

import tensorflow as tf

from models.arrays import Floats
from models.options import Head
from models.rating import RatingHead
from models.towers import ItemTower


class TwoTower(tf.Module):
    """Item tower, profile projection and rating head; `size` is D, the width of embeddings."""

    def __init__(
        self,
        features: Floats,
        *,
        size: int,
        price_buckets: int,
        profile_size: int,
        mean_rating: float,
        mean_target: float,
        head: Head,
    ) -> None:
        """Start from the catalogue's frozen features; see the parts for the arguments."""
        super().__init__(name="two_tower")
        self.items = ItemTower(features, size=size, price_buckets=price_buckets)
        self.size = min(size, features.shape[1])
        self.rating = RatingHead(
            size=self.size, mean_rating=mean_rating, mean_target=mean_target, head=head
        )
        self._profile = tf.Variable(tf.zeros([profile_size, self.size]), name="profile_projection")

    def profile(self, text: tf.Tensor) -> tf.Tensor:
        """Project encoded profile texts [B, hidden] into the items' space: [B, D].

        An empty profile must be given as zeros, which stay zeros.
        """
        return text @ self._profile

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(v.shape.num_elements() for v in self.trainable_variables)

    @property
    def matrices(self) -> list[tf.Variable]:
        """Trainable variables with an axis."""
        return [v for v in self.trainable_variables if v.shape.rank]

    @property
    def scalars(self) -> list[tf.Variable]:
        """Trainable weights and temperatures; they take a larger step."""
        return [v for v in self.trainable_variables if not v.shape.rank]
