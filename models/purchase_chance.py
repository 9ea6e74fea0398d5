"""With implicit feedback a rating is a chance: that a pair is a purchase, not an even draw.

Which items go with a user is for the retrieval score to say; a rating head, in which user and item
only add up, can't. So the two, and how popular an item is, are put together once the towers are
trained.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize
import tensorflow as tf
from scipy.special import expit

from models.arrays import Doubles, Floats, Rows
from models.inheritance.aligned_launch import AlignedLaunch
from models.interactions import Interactions
from models.sampling import at_most

# As the head alone has it: σ(4 x - 2) touches x at 1/2.
_START: Final = np.array([-2.0, 4.0, 0.0, 0.0])
_MOST: Final = 4096  # purchases that the weights are learned from


class Drawn(NamedTuple):
    """N pairs of a user with a history and an item, half of them purchases.

    Attributes:
        interactions: that the users and histories are of.
        chosen: int64 [N], which of them.
        item: int64 [N], rows of items: what was bought, and what was drawn evenly in its place.
        bought: bool [N], which of the two.
        logit: float32 [N], of retrieval; NaN for a history without an anchor.
        popularity: float32 [N], of the items, `AlignedLaunch.popularity`.
    """

    interactions: Interactions
    chosen: Rows
    item: Rows
    bought: npt.NDArray[np.bool_]
    logit: Floats
    popularity: Floats

    @classmethod
    def of(cls, launched: AlignedLaunch, interactions: Interactions, *, own: bool) -> Drawn:
        """Pairs with the items of a launch.

        Args:
            launched: whose targets inherit, and whose anchors have scores of their own.
            interactions: for the anchors of a split that no score knows.
            own: whether with the anchors.
        """
        known = launched.launch.anchors if own else launched.launch.targets
        chosen = at_most(np.flatnonzero(np.isin(interactions.item, known)), _MOST)
        drawn = known[np.random.default_rng(0).integers(len(known), size=len(chosen))]
        item = np.concatenate([interactions.item[chosen], drawn])
        bought = np.arange(len(item)) < len(chosen)
        chosen = np.concatenate([chosen, chosen])
        logit = launched.logits(interactions.history[chosen], item, own=own)
        popularity = launched.popularity(own=own)[np.searchsorted(known, item)]
        return cls(interactions, chosen, item, bought, logit, popularity)


class DrawnPairs(NamedTuple):
    """What a chance is learned from.

    Attributes:
        heirs: of a launch's targets, as new items are.
        anchors: of its anchors, as items with purchases are.
    """

    heirs: Drawn
    anchors: Drawn

    @classmethod
    def of(cls, launched: AlignedLaunch, *, train: Interactions, later: Interactions) -> DrawnPairs:
        """By a launch of the train split, and by what came later."""
        return cls(
            heirs=Drawn.of(launched, train, own=False), anchors=Drawn.of(launched, later, own=True)
        )


class Pairs(NamedTuple):
    """N pairs as `Drawn`, and what the rating head says of them.

    Attributes:
        head: float32 [N], of the rating head.
        logit: float32 [N], of retrieval; NaN for a history without an anchor.
        popularity: float32 [N], of the items.
        bought: bool [N].
    """

    head: Floats
    logit: Floats
    popularity: Floats
    bought: npt.NDArray[np.bool_]

    def rows(self, some: npt.NDArray[np.bool_] | slice) -> Pairs:
        """Some of them."""
        return Pairs(self.head[some], self.logit[some], self.popularity[some], self.bought[some])


class PurchaseChance(tf.Module):
    """`σ(w · [1, head, popularity, logit])`, with weights for each of three kinds of pairs.

    The weights are those of a logistic regression (Platt 1999, "Probabilistic Outputs for Support
    Vector Machines"). Scores that an item inherits spread less than those that it has from its own
    purchases, so there are weights for heirs and for anchors; and without an anchor in the history
    there is no score.
    """

    def __init__(self) -> None:
        """Start with what the head alone says."""
        super().__init__(name="purchase_chance")
        self._weights = tf.Variable(
            np.stack([_START] * 3), trainable=False, dtype=tf.float32, name="weights"
        )

    def fit(self, *, anchors: Pairs, heirs: Pairs | None = None) -> None:
        """Learn from pairs with items of both kinds.

        The fewer they are, the nearer the weights stay to those of the start.
        """
        kinds = [anchors.rows(slice(0)) if heirs is None else heirs, anchors]
        told = [pairs.rows(~np.isnan(pairs.logit)) for pairs in kinds]
        untold = [pairs.rows(np.isnan(pairs.logit)) for pairs in kinds]
        together = Pairs(*map(np.concatenate, zip(*untold, strict=True)))
        told.append(together._replace(logit=np.zeros_like(together.logit)))
        self._weights.assign(np.stack([_regression(pairs) for pairs in told]))

    def __call__(
        self, head: tf.Tensor, logit: tf.Tensor, popularity: tf.Tensor, *, is_anchor: tf.Tensor,
        is_told: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        """Apply.

        Args:
            head: float32 [B], of the rating head.
            logit: float32 [B], of retrieval.
            popularity: float32 [B], of the items, as the shelf has it.
            is_anchor: bool [B], whether the item is one.
            is_told: bool [B], whether `logit` is of a known item, by a history with an anchor.

        Returns:
            float32 [B] in [0, 1].
        """
        kind = tf.where(is_told, tf.cast(is_anchor, tf.int32), 2)
        logit = tf.where(is_told, logit, 0.0)
        inputs = tf.stack([tf.ones_like(head), head, popularity, logit], axis=1)
        return tf.sigmoid(tf.reduce_sum(tf.gather(self._weights, kind) * inputs, axis=1))

    def squared_error(self, pairs: Pairs, *, is_anchor: bool) -> float:
        """Mean over pairs with items of one kind; at least one."""
        chance = self(
            tf.constant(pairs.head),
            tf.constant(pairs.logit),
            tf.constant(pairs.popularity),
            is_anchor=tf.fill([len(pairs.bought)], is_anchor),
            is_told=tf.constant(~np.isnan(pairs.logit)),
        ).numpy()
        return float(np.square(chance - pairs.bought).mean())


def _regression(pairs: Pairs) -> Doubles:
    """Weights float64 [4] that maximise the likelihood, with a Gaussian prior around the start."""
    columns = [np.ones_like(pairs.head), pairs.head, pairs.popularity, pairs.logit]
    inputs = np.stack(columns, axis=1).astype(float)
    sign = np.where(pairs.bought, 1.0, -1.0)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        margin, moved = sign * (inputs @ weights), weights - _START
        value = np.logaddexp(0.0, -margin).sum() + moved @ moved / 2
        return float(value), moved - inputs.T @ (sign * expit(-margin))

    found: Doubles = scipy.optimize.minimize(loss, _START, jac=True, method="BFGS").x
    return found
