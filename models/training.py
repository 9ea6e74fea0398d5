"""Training of what is learned by gradient, and the choice of what is kept.

Items inherit co-purchases in closed form. Learned are the ratings, and what profiles want: in each
step a batch of ratings, and users who are asked for the hidden items of a simulated launch by their
profile alone, as somebody without a history is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from models.arrays import Floats, Rows
from models.debiasing.weights import inverse_propensity, of_pairs
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch
from models.interactions import PAD, Interactions, Profiles
from models.losses import multi_positive_softmax, squared_error
from models.options import TrainingOptions
from models.purchase_chance import Drawn, DrawnPairs, Pairs, PurchaseChance
from models.rating import likeness, mean_interest, recent_places
from models.record import SQUARED_ERROR
from models.sampling import at_most
from models.tracing import traced_at_first_call
from models.two_tower import TwoTower

Progress = Callable[[int, dict[str, float]], None]
_RATED = 8192


@dataclass(frozen=True)
class Inputs:
    """What training looks rows up in.

    Attributes:
        features: float32 [I, F] of the items.
        price_bucket: int32 [I].
        quality: float32 [I], of `models.inheritance.quality`, known items' own.
        quality_as_new: float32 [I], the same as if the item had no ratings.
        profiles: of U users.
        interactions: the train split.
        sampled: rows of it that training draws from, rising, int64 [M].
        later: the eval split, on which ratings are measured.
        is_implicit: whether there are no ratings, in whatever split.
        negatives: rows from which negatives are drawn for implicit data, int64 [N].
        drawn: from which the chance of a purchase is learned for implicit data, else None.
    """

    features: Floats
    price_bucket: npt.NDArray[np.int32]
    quality: Floats
    quality_as_new: Floats
    profiles: Profiles
    interactions: Interactions
    sampled: Rows
    later: Interactions
    is_implicit: bool
    negatives: Rows
    drawn: DrawnPairs | None

    @property
    def mean_target(self) -> float:
        """Mean of what a rating head is trained on: half negatives for implicit feedback."""
        return 0.5 if self.is_implicit else self.interactions.mean_rating


class Rated(NamedTuple):
    """A batch of N ratings.

    Attributes:
        asked: what the rating head and the towers read.
        rating: float32 [N] in [0, 1].
        weight: float32 [N], in the loss.
    """

    asked: dict[str, tf.Tensor]
    rating: tf.Tensor
    weight: tf.Tensor


@dataclass(frozen=True)
class Outcome:
    """How training went: the error of ratings before it and at the kept step; empty without any.

    Attributes:
        before: error before it.
        after: error at the kept step.
        step: the kept one.
        chance: of a purchase at that step, for implicit data.
    """

    before: dict[str, float]
    after: dict[str, float]
    step: int
    chance: PurchaseChance | None


def profile_logits(model: TwoTower, batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """Logits of users without history over the targets of a simulated launch.

    Args:
        model: the towers.
        batch: features [T, F], price [T] and log_popularity [T], predicted, of the targets;
            profile [B, hidden].

    Returns:
        float32 [B, T].
    """
    targets = model.items(batch["features"], batch["price"])
    affinity = tf.matmul(model.profile(batch["profile"]), targets, transpose_b=True)
    return batch["log_popularity"] + affinity


class Trainer:
    """Owns the optimisers and the compiled steps of one training."""

    def __init__(self, model: TwoTower, inputs: Inputs, options: TrainingOptions) -> None:
        self._model = model
        self._inputs = inputs
        self._options = options
        self._random = np.random.default_rng(options.seed)
        train = inputs.interactions
        self._weight = inverse_propensity(
            train.item, train.propensity,
            exponent=options.propensity_exponent, clip=options.propensity_clip,
        )  # fmt: skip
        self._wanted_weight = of_pairs(
            train.user, train.item, self._weight, (len(inputs.profiles.of), len(inputs.features))
        )
        adam = tf_keras.optimizers.AdamW
        self._matrix_optimizer = adam(weight_decay=options.weight_decay, clipnorm=1.0)
        self._scalar_optimizer = adam(weight_decay=0.0, clipnorm=1.0)
        # Or the first step would make what they keep, and be traced a second time.
        self._matrix_optimizer.build(model.matrices)
        self._scalar_optimizer.build(model.scalars)
        self._rate = traced_at_first_call(self._ratings)
        self._step = traced_at_first_call(self._train_step, wanted=2)

    def run(self, folds: list[AlignedLaunch], progress: Progress) -> Outcome:
        """Train, and leave the model at the step whose ratings of the eval split were best.

        With implicit feedback at the last one: the chance of a purchase leans on the head as far
        as that is of use, and its error says nothing of what was learned of profiles.
        """
        before = best = self._validation_error()
        kept, kept_step = self._weights(), 0
        progress(0, best)
        asked = [(fold, users) for fold in folds if len(users := self._asked(fold.launch))]
        for step in range(1, self._options.steps + 1 if asked else 1):
            self._set_learning_rate(step)
            losses = self._step(**self._sample(*asked[step % len(asked)]))
            if step % self._options.validate_every == 0 or step == self._options.steps:
                now = self._validation_error()
                progress(step, now | {name: float(value) for name, value in losses.items()})
                is_best = now.get(SQUARED_ERROR, 0.0) < best.get(SQUARED_ERROR, np.inf)
                if is_best or self._inputs.drawn is not None:
                    best, kept, kept_step = now, self._weights(), step
                elif step - kept_step >= self._options.patience:
                    break
        for variable, value in zip(self._model.variables, kept, strict=True):
            variable.assign(value)
        return Outcome(before=before, after=best, step=kept_step, chance=self._chance())

    def squared_error(self, later: Interactions) -> dict[str, float]:
        """Of ratings that were not trained on; the same interactions and negatives at every call.

        Args:
            later: interactions, of which a sample tells; empty ones have no error.
        """
        random, size = np.random.default_rng(0), self._options.batch_ratings
        # Ingestion leaves the rows of a user together, so the first ones are those of few users.
        sample, errors = at_most(np.arange(len(later)), _RATED), []
        for chosen in (sample[start : start + size] for start in range(0, len(sample), size)):
            batch = self._rating_batch(later, chosen, random, np.ones(len(chosen), np.float32))
            predicted = np.clip(self._rate(asked=batch.asked).numpy(), 0.0, 1.0)
            errors.append((predicted - batch.rating.numpy()) ** 2)
        return {SQUARED_ERROR: float(np.concatenate(errors).mean())} if errors else {}

    def _validation_error(self) -> dict[str, float]:
        """Squared error of what is served as a rating, on the eval split."""
        drawn = self._inputs.drawn
        if drawn is None:
            return self.squared_error(self._inputs.later)
        if not len(drawn.anchors.item):
            return {}
        chance, anchors = PurchaseChance(), self._rated(drawn.anchors)
        chance.fit(anchors=anchors)
        return {SQUARED_ERROR: chance.squared_error(anchors, is_anchor=True)}

    def _chance(self) -> PurchaseChance | None:
        """Of a purchase, by the head as it is now."""
        drawn = self._inputs.drawn
        if drawn is None:
            return None
        chance = PurchaseChance()
        chance.fit(anchors=self._rated(drawn.anchors), heirs=self._rated(drawn.heirs))
        return chance

    def _rated(self, drawn: Drawn) -> Pairs:
        size, head = self._options.batch_ratings, [np.zeros(0, np.float32)]
        for at in range(0, len(drawn.item), size):
            chosen, item = drawn.chosen[at : at + size], drawn.item[at : at + size]
            asked = self._asked_to_rate(drawn.interactions, chosen, item)
            head.append(self._rate(asked=asked).numpy())
        return Pairs(np.concatenate(head), drawn.logit, drawn.popularity, drawn.bought)

    def _train_step(
        self, launch: dict[str, tf.Tensor], wanted: tf.Tensor, rated: Rated
    ) -> dict[str, tf.Tensor]:
        model = self._model
        with tf.GradientTape() as tape:
            profile_loss = multi_positive_softmax(profile_logits(model, launch), wanted)
            rating_loss = squared_error(self._ratings(rated.asked), rated.rating, rated.weight)
            loss = profile_loss + self._options.rating_weight * rating_loss
        split = len(model.matrices)
        variables = model.matrices + model.scalars
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        self._matrix_optimizer.apply_gradients(
            zip(gradients[:split], variables[:split], strict=True)
        )
        self._scalar_optimizer.apply_gradients(
            zip(gradients[split:], variables[split:], strict=True)
        )
        return {"profile_loss": profile_loss, "rating_loss": rating_loss}

    def _ratings(self, asked: dict[str, tf.Tensor]) -> tf.Tensor:
        model = self._model
        items = model.items(asked["features"], asked["price"])
        history = model.items(asked["history_features"], asked["history_price"])
        present = asked["present"]
        interests = tf.gather(history, asked["history_place"])
        recent = recent_places(present > 0)
        latest = tf.gather(present, recent, batch_dims=1)
        return model.rating(
            ratings=asked["history_rating"],
            expected=asked["expected"],
            rated=present,
            # What items are alike is for the catalogue to say, not for some users' ratings.
            like=tf.stop_gradient(likeness(tf.linalg.matvec(interests, items))),
            history=mean_interest(interests, present),
            recent=recent,
            interests=tf.gather(interests, recent, batch_dims=1) * latest[:, :, tf.newaxis],
            present=latest,
            profile=model.profile(asked["profile"]),
            quality=asked["quality"],
            item=items,
        )

    def _asked(self, launch: SimulatedLaunch) -> Rows:
        """The launch's users of whom there are sampled interactions."""
        sampled = self._inputs.interactions.user[self._inputs.sampled]
        asked: Rows = np.intersect1d(launch.users, sampled)
        return asked

    def _sample(self, fold: AlignedLaunch, asked: Rows) -> dict[str, Any]:
        users = self._random.choice(asked, min(self._options.batch_users, len(asked)), False)
        wanted = fold.launch.wanted[users]
        weight = self._wanted_weight[users][:, fold.launch.targets]
        return {
            "launch": self._launch_batch(fold, users),
            "wanted": tf.constant(wanted.multiply(weight).toarray()),
            "rated": self._sample_ratings(),
        }

    def _launch_batch(self, aligned: AlignedLaunch, users: Rows) -> dict[str, tf.Tensor]:
        inputs, launch = self._inputs, aligned.launch
        return {
            "features": tf.constant(inputs.features[launch.targets]),
            "price": tf.constant(inputs.price_bucket[launch.targets]),
            "log_popularity": tf.constant(aligned.popularity(own=False)),
            "profile": tf.constant(inputs.profiles.at(users)),
        }

    def _sample_ratings(self) -> Rated:
        sampled = self._inputs.sampled
        chosen = self._random.choice(sampled, min(self._options.batch_ratings, len(sampled)))
        return self._rating_batch(
            self._inputs.interactions, chosen, self._random, self._weight[chosen]
        )

    def _rating_batch(
        self,
        interactions: Interactions,
        chosen: Rows,
        random: np.random.Generator,
        weight: Floats,
    ) -> Rated:
        """Ratings of the chosen interactions; for implicit data half become negatives."""
        inputs = self._inputs
        item, rating = interactions.item[chosen], interactions.rating[chosen]
        if inputs.is_implicit:
            negative = random.random(len(chosen)) < 0.5
            item = np.where(negative, random.choice(inputs.negatives, len(chosen)), item)
            rating = np.where(negative, 0.0, rating).astype(np.float32)
            # Negatives are drawn evenly.
            weight = np.where(negative, 1.0, weight).astype(np.float32)
        asked = self._asked_to_rate(interactions, chosen, item)
        return Rated(asked, tf.constant(rating), tf.constant(weight))

    def _asked_to_rate(
        self, interactions: Interactions, chosen: Rows, item: Rows | npt.NDArray[np.int32]
    ) -> dict[str, tf.Tensor]:
        """Items, each for the user of an interaction, with the history of then."""
        inputs, history = self._inputs, interactions.history[chosen]
        rows, place = np.unique(np.maximum(history, 0), return_inverse=True)
        return {
            "features": tf.constant(inputs.features[item]),
            "price": tf.constant(inputs.price_bucket[item]),
            "quality": tf.constant(inputs.quality_as_new[item]),
            "expected": tf.constant(inputs.quality[np.maximum(history, 0)]),
            "history_features": tf.constant(inputs.features[rows]),
            "history_price": tf.constant(inputs.price_bucket[rows]),
            "history_place": tf.constant(place.reshape(history.shape), tf.int32),
            "history_rating": tf.constant(interactions.history_rating[chosen]),
            "present": tf.constant((history != PAD).astype(np.float32)),
            "profile": tf.constant(inputs.profiles.at(interactions.user[chosen])),
        }

    def _set_learning_rate(self, step: int) -> None:
        options = self._options
        warm = min(1.0, step / max(options.warmup_steps, 1))
        rate = warm * max(0.02, 0.5 * (1.0 + np.cos(np.pi * step / options.steps)))
        self._matrix_optimizer.learning_rate.assign(options.learning_rate * rate)
        self._scalar_optimizer.learning_rate.assign(options.scalar_learning_rate * rate)

    def _weights(self) -> list[Floats]:
        return [variable.numpy() for variable in self._model.variables]
