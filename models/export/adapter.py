"""Few-shot adaptation in the graph: first interactions in, an item's new columns out.

Nothing is trained. What was learned stands in `EvidenceWeights`; what is known of an item is kept
on the shelf as sums, so that taking in more interactions of new items later gives the same as all
at once, as long as no purchases of other items come between that change what supporters lean to.
"""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

import tensorflow as tf

from models.columns import Columns, take
from models.few_shot import evidence
from models.few_shot.clock import clock_at
from models.few_shot.weights import EvidenceWeights
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.shelf.shelf import Shelf


class Support(NamedTuple):
    """Interactions of B items, at most S each.

    Attributes:
        row: int64 [B], of the items.
        given: bool [B, S], False pads.
        user: int64 [B, S], rows; PAD for somebody unknown.
        timestamp: int64 [B, S], unix seconds.
        rating: float32 [B, S] in [0, 1].
    """

    row: tf.Tensor
    given: tf.Tensor
    user: tf.Tensor
    timestamp: tf.Tensor
    rating: tf.Tensor


class _Evidence(NamedTuple):
    """All interactions of B items so far, as the shelf keeps them.

    Attributes:
        count: float32 [B, 4]: interactions, those of known users, sums of habit and of rating.
        time: int64 [B, 2], of the first and of the last.
        lifts: float32 [B, K], sums over the known users.
    """

    count: tf.Tensor
    time: tf.Tensor
    lifts: tf.Tensor


class Adapter(tf.Module):
    """Applies `EvidenceWeights` to what the shelf knows."""

    def __init__(self, *, shelf: Shelf, weights: EvidenceWeights) -> None:
        super().__init__(name="adapter")
        self._shelf = shelf
        for column in fields(weights):
            value = getattr(weights, column.name)
            setattr(self, f"_{column.name}", tf.Variable(value, trainable=False, name=column.name))

    def __call__(self, support: Support) -> dict[str, tf.Tensor]:
        """The new columns of the items.

        An item of training is not adapted: its own co-purchases say more. That includes those
        beyond `model.max_anchors`, whose interactions the sums do not hold.

        Returns:
            `embedding` float32 [B, D], `demand` float32 [B], `is_adapted` bool [B]; and the
            columns of evidence `count`, `time`, `lift`, `attention` and `weight`.
        """
        shelf = self._shelf
        total = _sum(self._kept(support.row), self._given(support))
        place = take(shelf.evidence.of, support.row)
        text = _blank_or(place, shelf.evidence.text, shelf.embeddings(support.row))
        is_adapted = take(shelf.is_new, support.row) & (total.count[:, 0] > 0)
        active = tf.cast(is_adapted, tf.float32)

        index, lent = shelf.served.lists(support.row)
        prior = positive_attention(lent)
        attention = _posterior(prior, total)
        lower, upper, part = self._between(total.count[:, 0])

        def at_count(variable: tf.Variable) -> tf.Tensor:
            share = part if variable.shape.rank == 1 else part[:, tf.newaxis]
            below, above = take(variable, lower), take(variable, upper)
            return below + share * (above - below)

        weight = tf.stack([at_count(self._inherit), at_count(self._own)], axis=1)
        weight *= active[:, tf.newaxis]
        # Features are standardised by the moments of each learned number, then blended.
        below, above = (self._shift(support.row, total, at) for at in (lower, upper))
        shift = at_count(self._level) + below + part * (above - below)
        moved = tf.linalg.matmul(
            (attention - prior)[:, tf.newaxis, :],
            shelf.served.floats("anchor_embedding", index),
        )[:, 0]
        believed = tf.clip_by_value(tf.reduce_sum(weight, axis=1, keepdims=True), 0.0, 1.0)
        return {
            "embedding": tf.math.l2_normalize(text + believed * moved, axis=1),
            "demand": active * shift,
            "is_adapted": is_adapted,
            "count": total.count,
            "time": total.time,
            "lift": total.lifts,
            "attention": attention,
            "weight": weight,
        }

    def _kept(self, row: tf.Tensor) -> _Evidence:
        """What the shelf already holds of the items, zeros where it holds nothing."""
        shelf = self._shelf
        place = take(shelf.evidence.of, row)
        return _Evidence(
            count=_blank_or(place, shelf.evidence.count),
            time=_blank_or(place, shelf.evidence.time),
            lifts=_blank_or(place, shelf.evidence.lift),
        )

    def _given(self, support: Support) -> _Evidence:
        shelf, items = self._shelf, tf.shape(support.row)[0]
        known = support.given & (support.user != PAD)
        places = tf.where(known)
        of = places[:, 0]
        users, which = tf.unique(tf.gather_nd(support.user, places), out_idx=tf.int64)
        lean, habit = self._supporters(users)
        background = shelf.evidence.background.read_value() + evidence.TINY
        lift = tf.math.log((lean / background + evidence.LIFT_FLOOR) / (1.0 + evidence.LIFT_FLOOR))
        index = tf.gather(shelf.served.lists(support.row)[0], of)
        pairs = tf.stack(
            [tf.broadcast_to(which[:, tf.newaxis], tf.shape(index)), tf.cast(index, tf.int64)],
            axis=2,
        )
        given = tf.cast(support.given, tf.float32)
        latest, earliest = support.timestamp.dtype.min, support.timestamp.dtype.max
        return _Evidence(
            count=tf.stack(
                [
                    tf.reduce_sum(given, axis=1),
                    tf.reduce_sum(tf.cast(known, tf.float32), axis=1),
                    tf.math.unsorted_segment_sum(tf.gather(habit, which), of, items),
                    tf.reduce_sum(tf.where(support.given, support.rating, 0.0), axis=1),
                ],
                axis=1,
            ),
            time=tf.stack(
                [
                    tf.reduce_min(tf.where(support.given, support.timestamp, earliest), axis=1),
                    tf.reduce_max(tf.where(support.given, support.timestamp, latest), axis=1),
                ],
                axis=1,
            ),
            lifts=tf.math.unsorted_segment_sum(tf.gather_nd(lift, pairs), of, items),
        )

    def _supporters(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Leanings float32 [U, A] and habits float32 [U] of users' rows int64 [U]."""
        shelf = self._shelf
        bought = shelf.purchases(users)
        anchors = shelf.served.anchors(take(shelf.user_items, bought.values))
        places = tf.where(anchors != PAD)[:, 0]
        owner = tf.gather(bought.value_rowids(), places)
        anchors, count = tf.gather(anchors, places), tf.size(users)
        scores = tf.nn.relu(shelf.served.scores(anchors, owner, count))
        total = tf.reduce_sum(scores, axis=1, keepdims=True)
        items = tf.math.unsorted_segment_sum(tf.ones_like(owner, tf.float32), owner, count)
        return scores / (total + evidence.TINY), tf.math.log1p(items)

    def _between(self, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The learned numbers around k, and how far it lies from the lower one, in logarithms."""
        known = self._count.read_value()
        last = tf.size(known) - 1
        count = tf.clip_by_value(count, known[0], known[-1])
        upper = tf.minimum(tf.searchsorted(known, count), last)
        lower = tf.maximum(tf.searchsorted(known, count, side="right") - 1, 0)
        begin, end = tf.math.log(tf.gather(known, lower)), tf.math.log(tf.gather(known, upper))
        return lower, upper, tf.math.divide_no_nan(tf.math.log(count) - begin, end - begin)

    def _shift(self, row: tf.Tensor, total: _Evidence, at: tf.Tensor) -> tf.Tensor:
        """Demand in logits by the weights of one learned number: float32 [B]."""
        shelf = self._shelf
        count, known, habit, rating = tf.unstack(total.count, axis=1)
        clock = tf.cast(
            tf.reshape(
                clock_at(
                    shelf.evidence.clock_time.read_value(),
                    shelf.evidence.clock_share.read_value(),
                    tf.reshape(total.time, [-1]),
                ),
                tf.shape(total.time),
            ),
            tf.float32,
        )
        first, last = tf.unstack(clock, axis=1)
        pace = tf.math.log(tf.maximum(count - 1.0, 1.0)) - tf.math.log(
            evidence.CLOCK_SCALE * (last - first) + 1.0
        )
        left = tf.maximum(1.0 - last, 0.0)
        features = tf.stack(
            [
                tf.where(count > 1.0, pace, 0.0),
                left,
                tf.math.log(left + evidence.LEFT_FLOOR),
                take(shelf.evidence.expected_share, row),
                tf.math.divide_no_nan(habit, tf.maximum(known, 1.0)),
                tf.math.divide_no_nan(rating, count),
            ],
            axis=1,
        )
        standard = (features - take(self._center, at)) * take(self._precision, at)
        standard = tf.clip_by_value(standard, -evidence.CLIP, evidence.CLIP)
        # After the data every item has the same time before it.
        is_window = tf.constant([name in evidence.WINDOW for name in evidence.FEATURES])
        is_after = tf.reduce_max(total.time, axis=1) > shelf.evidence.clock_time[-1]
        standard = tf.where(is_window & is_after[:, tf.newaxis], 0.0, standard)
        return tf.reduce_sum(standard * take(self._weight, at), axis=1)


def evidence_logits(
    heard: Columns, inherited: Inherited, scores: tf.Tensor, bought: tf.Tensor,
    places: tf.Tensor | None = None,
) -> tf.Tensor:  # fmt: skip
    """Weighted log-ratios of the items with evidence: float32 [B, E].

    How much more of a user's scores, and of the history itself, those anchors have that the
    supporters lean to than those that the text chose.

    Args:
        heard: the columns of evidence.
        inherited: by all items.
        scores: float32 [B, A], of the anchors, not below 0.
        bought: float32 [B, A], 1 for an anchor of the history, and what its other items are like.
        places: int32 [E], which of the items with evidence; None for all of them.
    """

    def column(name: str) -> tf.Tensor:
        values = getattr(heard, name).read_value()
        return values if places is None else tf.gather(values, places)

    rows = column("row")
    index, lent_by = inherited.lists(rows)
    text = positive_attention(lent_by)
    attention, weight = column("attention"), column("weight")
    total = tf.zeros([tf.shape(scores)[0], tf.size(rows)])
    for place, values in enumerate((scores, bought)):
        floor = evidence.RATIO_FLOOR * tf.linalg.matvec(values, heard.cold_attention.read_value())
        floor = floor[:, tf.newaxis] + evidence.TINY
        lent = tf.gather(values, index, axis=1)
        new = tf.reduce_sum(lent * attention, axis=2) + floor
        old = tf.reduce_sum(lent * text, axis=2) + floor
        total += weight[:, place] * tf.math.log(new / old)
    return total


def positive_attention(weight: tf.Tensor) -> tf.Tensor:
    """`models.few_shot.evidence.attention` in the graph: float32 [.., K] to the same."""
    positive = tf.nn.relu(weight)
    return positive / (tf.reduce_sum(positive, axis=-1, keepdims=True) + evidence.TINY)


def _posterior(prior: tf.Tensor, total: _Evidence) -> tf.Tensor:
    """`models.few_shot.evidence.posterior` in the graph."""
    known = tf.maximum(total.count[:, 1:2], 1.0)
    logarithm = total.lifts / tf.sqrt(known)
    likelihood = tf.exp(logarithm - tf.reduce_max(logarithm, axis=1, keepdims=True))
    return positive_attention(prior * likelihood)


def _sum(one: _Evidence, other: _Evidence) -> _Evidence:
    is_none = one.count[:, :1] == 0.0
    return _Evidence(
        count=one.count + other.count,
        time=tf.where(
            is_none,
            other.time,
            tf.stack(
                [
                    tf.minimum(one.time[:, 0], other.time[:, 0]),
                    tf.maximum(one.time[:, 1], other.time[:, 1]),
                ],
                axis=1,
            ),
        ),
        lifts=one.lifts + other.lifts,
    )


def _blank_or(
    place: tf.Tensor, column: tf.Variable, otherwise: tf.Tensor | None = None
) -> tf.Tensor:
    """A column's values at places int32 [B]; `otherwise`, or zeros, at PAD."""
    values = column.read_value()
    values = tf.pad(values, [[1, 0], *[[0, 0]] * (values.shape.rank - 1)])
    kept = tf.gather(values, place + 1)
    if otherwise is None:
        return kept
    has = place != PAD
    return tf.where(has if kept.shape.rank == 1 else has[:, tf.newaxis], kept, otherwise)
