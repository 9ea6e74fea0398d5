"""Whether what was learned is worth a push: its policy judged by users who did not teach it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.exploration.observing import Observed
from models.arrays import Floats
from models.errors import Refused
from models.exploration import off_policy
from models.exploration.bandit import Posterior, learn
from models.exploration.exploration import OUT, chances, drawn
from models.exploration.off_policy import Estimate, Logged
from models.options import ExploreOptions

_SCORES: Final = 1 << 22  # that are held at a time
_FEWEST: Final = 2  # users, for a standard error
_NOTHING: Final = Logged(np.zeros(0, np.int64), *[np.zeros(0)] * (len(Logged._fields) - 1))


class Judgement(NamedTuple):
    """Rewards per explored place.

    Attributes:
        places: that judge.
        logged: of the policy that showed them.
        gain: what the new policy earns more; its lower bound decides.
        doubly_robust, snips, ips, replay: what the new policy would have earned.
    """

    places: int
    logged: Estimate
    gain: Estimate
    doubly_robust: Estimate
    snips: Estimate
    ips: Estimate
    replay: Estimate

    def passes(self, tolerance: float) -> bool:
        """Whether the new policy earns that much less at most, in 95 of 100 cases."""
        return self.gain.low >= -tolerance

    def check(self, tolerance: float) -> None:
        """Refuse a policy that may well be worse.

        Raises:
            Refused: the lower bound is too low.
        """
        if not self.passes(tolerance):
            low = self.logged.value + self.gain.low
            bound = self.logged.value - tolerance
            raise Refused(
                "The gate refused what was learned: on "
                f"{self.places:,} explored places that did not teach it, its reward per place is "
                f"at least {low:.4f} in 95 of 100 cases (doubly robust estimate "
                f"{self.doubly_robust.value:.4f}), refused below {bound:.4f}: the logged policy "
                f"earned {self.logged.value:.4f}, and explore.tolerance is {tolerance:g}. Nothing "
                "was pushed; give the command again when the log has grown, or with a larger "
                "explore.budget if what sells has spent it."
            )


def judge(
    embedding: Floats, observed: Observed, options: ExploreOptions,
    *, impressions: npt.NDArray[np.int32],
) -> Judgement | None:  # fmt: skip
    """Teach the policy by the lists of one half of the users and judge it by those of the other.

    Args:
        embedding: float32 [N, D], of the new items.
        observed: all lists.
        options: of the policy.
        impressions: int32 [N], on explored places; the policy can't show what has spent its budget.

    Returns:
        None where too few users saw places that the policy would explore to tell anything.
    """
    judges = observed.is_judge[observed.of]
    posterior = learn(
        embedding, observed.feedback.where(~judges), deviation=options.prior_deviation
    )
    left = impressions < options.budget
    logged = off_policy.truncated(logged_places(observed, posterior, options, left))
    if len(np.unique(logged.user)) < _FEWEST:
        return None
    return Judgement(
        places=len(logged.reward),
        logged=off_policy.on_policy(logged),
        gain=off_policy.gain(logged),
        doubly_robust=off_policy.doubly_robust(logged),
        snips=off_policy.snips(logged),
        ips=off_policy.ips(logged),
        replay=off_policy.replay(logged),
    )


def logged_places(
    observed: Observed, posterior: Posterior, options: ExploreOptions, left: npt.NDArray[np.bool_]
) -> Logged:
    """The explored places of the lists that judge, and what the policy would do there.

    Of several explored places in a list each has an even part of what is expected of them.

    Args:
        observed: all lists.
        posterior: of the policy.
        options: of the policy.
        left: bool [N], which of the new items have a budget left.
    """
    draw = posterior.draws(
        options.policy, optimism=options.optimism, random=np.random.default_rng(0)
    )
    at_once = max(_SCORES // max(draw.size, 1), 1)
    parts = [
        _logged(observed, slice(start, start + at_once), posterior, draw, options.uniform, left)
        for start in range(0, len(observed.judge), at_once)
    ]
    return Logged(*(np.concatenate(column) for column in zip(_NOTHING, *parts, strict=True)))


def _candidates(
    observed: Observed, part: slice, left: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Some of the lists that judge, and what their users were promised of items with a budget left.

    Without lists that have more explored places than candidates left: there the policy doesn't
    choose what fills them.
    """
    judge, promise = observed.judge[part], np.where(left, observed.promise[part], np.float32(0))
    places = np.bincount(observed.of[observed.is_explored], minlength=len(observed.user))
    is_filled = (promise > 0).sum(axis=1) >= places[judge]
    return judge[is_filled], promise[is_filled]


def _logged(
    observed: Observed, part: slice, posterior: Posterior, draw: Floats, uniform: float,
    left: npt.NDArray[np.bool_],
) -> Logged:  # fmt: skip
    """`logged_places` of some of the lists."""
    judge, promise = _candidates(observed, part, left)
    explored = observed.is_explored & np.isin(observed.of, judge)
    row = np.searchsorted(judge, observed.of[explored])
    item, _, reward = observed.feedback.where(explored)
    places = np.bincount(row, minlength=len(judge))
    is_candidate = promise > 0
    with np.errstate(divide="ignore"):
        scores = np.where(is_candidate, np.log(promise) + posterior.learned(), np.float32(OUT))
    of_draws = drawn(tf.constant(scores), tf.constant(draw), tf.constant(places.max(initial=0)))
    # A place at a time, as lists differ in how many are explored.
    target = chances(
        tf.constant(item[:, np.newaxis], tf.int32),
        tf.gather(of_draws, row),
        tf.constant(places[row], tf.int32),
        tf.gather(scores, row),
        tf.constant(uniform, tf.float32),
    ).numpy()[:, 0]
    reward_of = posterior.rate * np.maximum(posterior.mean, 0.0) * promise.astype(np.float64)
    shown = np.take_along_axis(
        reward_of[:, np.newaxis, :], of_draws.numpy().astype(np.int64), axis=2
    )
    shown = shown * (np.arange(shown.shape[2]) < places[:, np.newaxis, np.newaxis])
    by_draw = shown.sum(axis=2).mean(axis=1) / places
    at_random = reward_of.sum(axis=1) / is_candidate.sum(axis=1)
    return Logged(
        user=observed.user[observed.of[explored]],
        reward=reward,
        propensity=observed.propensity[explored],
        target=np.where(is_candidate[row, item], target.astype(np.float64), 0.0),
        predicted=reward_of[row, item],
        expected=((1 - uniform) * by_draw + uniform * at_random)[row],
    )
