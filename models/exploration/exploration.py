"""Exploration in the served graph: a bounded part of a list goes to new items that may sell.

A contextual bandit, linear on the shared space (`models.exploration.bandit`), has left on the shelf
by how much it corrects each new item's score: once as what it has learned, and once for each of M
draws of what the item may yet turn out to be worth. A request takes one of the draws, by a hash of
its user and history. So the same request to the same version gets the same answer, and the chance
of an item is the share of the draws that choose it: exact, not estimated. Lu & Van Roy 2017 call
such a fixed set of posterior draws ensemble sampling; LinUCB has a single one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Floats
from models.columns import WIDENS, Columns

# Stands for "no candidate": lower than any logit, yet finite.
OUT: Final = tf.float32.min
# An explored place's propensity is at most that, so that a log tells it from the others.
_SURE: Final = 1.0 - 2.0**-16
_SEEDS: Final = 1 << 62


@dataclass(frozen=True)
class Exploration:
    """Columns of the shelf for N new items and M draws; N = 0 where nothing is explored.

    Attributes:
        share: float32 [1], of the places of a list that are explored.
        uniform: float32 [1], of the lists whose explored places are filled with equal chances.
        salt: string [1], changes which draw a request takes.
        row: int32 [N], rows of the new items.
        impressions: int32 [N], how often each was shown on an explored place.
        is_explored: bool [N], False where an item's budget is spent.
        learned: float32 [N], logit that is added to the item's score on any place.
        draw: float32 [N, M], logit that a draw adds to that when it explores.
    """

    share: Floats
    uniform: Floats
    salt: npt.NDArray[np.object_]
    row: npt.NDArray[np.int32]
    impressions: npt.NDArray[np.int32]
    is_explored: npt.NDArray[np.bool_]
    learned: Floats
    draw: Floats = field(metadata={WIDENS: True})


def no_exploration() -> Exploration:
    """The columns while nothing is explored."""
    return Exploration(
        share=np.zeros(1, np.float32),
        uniform=np.zeros(1, np.float32),
        salt=np.array([""], object),
        row=np.zeros(0, np.int32),
        impressions=np.zeros(0, np.int32),
        is_explored=np.zeros(0, np.bool_),
        learned=np.zeros(0, np.float32),
        draw=np.zeros((0, 1), np.float32),
    )


def learned_logits(exploration: Columns, items: tf.Tensor) -> tf.Tensor:
    """What is added to the score of each of I items: float32 [I]."""
    rows = exploration.row.read_value()
    return tf.scatter_nd(rows[:, tf.newaxis], exploration.learned.read_value(), [items])


class Lists(NamedTuple):
    """B lists, best first.

    Attributes:
        logit: float32 [B, K], `OUT` where there is no item.
        row: int32 [B, K].
        propensity: float32 [B, K], chance with which the item came into the list.
    """

    logit: tf.Tensor
    row: tf.Tensor
    propensity: tf.Tensor


def request_seeds(exploration: Columns, user_id: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
    """A number that only a request and the version decide: string [B], [B, H] to int64 [B]."""
    known = tf.strings.reduce_join(history, axis=1, separator="\t")
    # Padding must not matter: a server's batch decides how much of it there is.
    known = tf.strings.regex_replace(known, r"\t+$", "")
    text = tf.strings.join([exploration.salt[0], user_id, known], separator="\n")
    return tf.strings.to_hash_bucket_fast(text, _SEEDS)


def explore(
    exploration: Columns, best: Lists, candidates: tf.Tensor, seeds: tf.Tensor, k: tf.Tensor
) -> Lists:
    """Give the explored share of the lists' places to candidates; the lists stay in order.

    `k · share` places of a list are explored, a fraction by chance, and those are its last ones.
    The propensity of what stands there is its chance given how many places they are, and just below
    1 where nothing else could stand there.

    Args:
        exploration: the columns.
        best: what is recommended without exploration.
        candidates: float32 [B, N], scores of the new items, `OUT` where one may not be shown.
        seeds: int64 [B], of the requests.
        k: int32 [], places asked for.
    """
    rows = exploration.row.read_value()
    numbers = _numbers(seeds, 3 + tf.size(rows))
    wanted = tf.cast(k, tf.float32) * exploration.share[0]
    candidates = tf.where(exploration.is_explored.read_value(), candidates, OUT)
    unlisted = _struck(candidates, rows, best.row, best.logit > OUT)
    places = tf.minimum(
        tf.cast(tf.floor(wanted + numbers[:, 0]), tf.int32),
        tf.reduce_sum(tf.cast(unlisted > OUT, tf.int32), axis=1),
    )
    listed = tf.reduce_sum(tf.cast(best.logit > OUT, tf.int32), axis=1)
    stays = tf.range(tf.shape(best.row)[1]) < (listed - places)[:, tf.newaxis]
    candidates = _struck(candidates, rows, best.row, stays)
    most = tf.reduce_max(places)

    of_draws = drawn(candidates, exploration.draw.read_value(), most)
    draws = tf.shape(of_draws)[1]
    own = tf.cast(numbers[:, 1] * tf.cast(draws, tf.float32), tf.int32)
    by_draw = tf.gather(of_draws, tf.minimum(own, draws - 1), batch_dims=1)
    at_random = tf.math.top_k(tf.where(candidates > OUT, numbers[:, 3:], OUT), most).indices
    is_random = (numbers[:, 2] < exploration.uniform[0])[:, tf.newaxis]
    chosen = tf.where(is_random, at_random, by_draw)
    chance = chances(chosen, of_draws, places, candidates, exploration.uniform[0])
    is_explored = tf.range(most) < places[:, tf.newaxis]
    logits = tf.gather(candidates, chosen, batch_dims=1)

    together = Lists(
        tf.concat([tf.where(stays, best.logit, OUT), tf.where(is_explored, logits, OUT)], axis=1),
        tf.concat([best.row, tf.gather(rows, chosen)], axis=1),
        tf.concat([best.propensity, tf.minimum(chance, _SURE)], axis=1),
    )
    order = tf.math.top_k(together.logit, tf.shape(best.row)[1]).indices
    return Lists(*(tf.gather(column, order, batch_dims=1) for column in together))


def drawn(candidates: tf.Tensor, draw: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """What each draw would show: places of candidates, best first.

    Args:
        candidates: float32 [B, N], scores, `OUT` where there is none.
        draw: float32 [N, M].
        most: int32 [], places that are explored.

    Returns:
        int32 [B, M, most].
    """
    moved = candidates[:, tf.newaxis, :] + tf.transpose(draw)
    moved = tf.where(candidates[:, tf.newaxis, :] > OUT, moved, OUT)
    return tf.math.top_k(moved, most).indices


def chances(
    chosen: tf.Tensor, of_draws: tf.Tensor, places: tf.Tensor, candidates: tf.Tensor,
    uniform: tf.Tensor,
) -> tf.Tensor:  # fmt: skip
    """With which chance candidates come into a list: float32 [B, C].

    Args:
        chosen: int32 [B, C], places of candidates.
        of_draws: int32 [B, M, K], of `drawn`.
        places: int32 [B], explored places of each list, at most K.
        candidates: float32 [B, N], scores, `OUT` where there is none.
        uniform: float32 [], share of the lists whose explored places are filled uniformly.
    """
    same = chosen[:, tf.newaxis, :, tf.newaxis] == of_draws[:, :, tf.newaxis, :]
    same &= tf.range(tf.shape(of_draws)[2]) < places[:, tf.newaxis, tf.newaxis, tf.newaxis]
    by_draw = tf.reduce_mean(tf.cast(tf.reduce_any(same, axis=3), tf.float32), axis=1)
    number = tf.reduce_sum(tf.cast(candidates > OUT, tf.float32), axis=1)
    at_random = tf.math.divide_no_nan(tf.cast(places, tf.float32), number)
    return (1.0 - uniform) * by_draw + uniform * at_random[:, tf.newaxis]


def _numbers(seeds: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in [0, 1) for each seed, whatever the others: float32 [B, count]."""

    def of_one(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [count], tf.stack([seed, tf.zeros_like(seed)]), alg="philox"
        )

    return tf.map_fn(of_one, seeds, fn_output_signature=tf.float32)


def _struck(
    candidates: tf.Tensor, rows: tf.Tensor, listed: tf.Tensor, stands: tf.Tensor
) -> tf.Tensor:
    """Candidates [B, N] without those whose rows [N] stand in a list: int32 and bool [B, K]."""
    same = (listed[:, :, tf.newaxis] == rows) & stands[:, :, tf.newaxis]
    return tf.where(tf.reduce_any(same, axis=1), OUT, candidates)
