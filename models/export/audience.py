"""Who will like an item: the best users for it, over the index of users on the shelf.

A user's score for an item is relative to what else that user may be offered. An audience compares
users, so it also counts how much each of them buys: score + log(1 + items bought), the logarithm of
how many purchases to expect, up to a constant. Without that, whoever bought a single fitting item
would lead every list.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from models.columns import by_rows, take
from models.exploration.exploration import OUT, learned_logits
from models.export.adapter import evidence_logits, positive_attention
from models.export.lists import top
from models.export.scoring import Bought
from models.interactions import PAD
from models.options import SMALL
from models.ragged import row_sums, spread
from models.shelf.shelf import Shelf
from models.towers import retrieval_logits

# As many seen items lend their scores to a product that is not on the shelf.
NEIGHBOURS: Final = 64
_LIKENESS_POWER: Final = 4
# Users who get a full score where there are more than `SMALL`.
CANDIDATES: Final = 1024
# Purchases that are looked at to find these.
POSTINGS: Final = 1 << 17
# Users for whom an item's first interactions are heard; that takes all scores of each.
HEARD: Final = 128
_BLOCK: Final = 16


class Lenders(NamedTuple):
    """What B items inherit.

    Attributes:
        anchor: int32 [B, K], whose scores they are lent.
        weight: float32 [B, K], of these.
        demand: float32 [B].
    """

    anchor: tf.Tensor
    weight: tf.Tensor
    demand: tf.Tensor


class Audience(tf.Module):
    """Ranks the users of the shelf for items."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(name="audience")
        self._shelf = shelf

    def on_shelf(self, rows: tf.Tensor) -> Lenders:
        """What items inherit, nothing for PAD: rows int64 [B]."""
        shelf, known, place = self._shelf, tf.cast(rows != PAD, tf.float32), tf.maximum(rows, 0)
        anchor, weight = shelf.served.lists(place)
        learned = learned_logits(shelf.exploration, tf.size(shelf.is_new.read_value()))
        demand = take(shelf.served.demand, place) + tf.gather(learned, place)
        return Lenders(anchor, weight * known[:, tf.newaxis], demand * known)

    def by_text(self, embedding: tf.Tensor) -> Lenders:
        """What products inherit by their embeddings alone, float32 [B, D].

        The seen items nearest to a product lend it their scores, by a power of the cosine. What a
        product inherits once it is on the shelf is found with more than the model holds.
        """
        anchors = self._shelf.served.floats("anchor_embedding")
        cosine = tf.matmul(embedding, anchors, transpose_b=True)
        nearest = tf.math.top_k(cosine, tf.minimum(NEIGHBOURS, tf.shape(anchors)[0]))
        weight = by_likeness(nearest.values)
        return Lenders(nearest.indices, weight, tf.zeros(tf.shape(embedding)[:1]))

    def best(self, lenders: Lenders, rows: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best users for each item, without those who bought it.

        Args:
            lenders: of B items.
            rows: int64 [B], of the items, PAD for one that is not on the shelf.
            k: int32 [].

        Returns:
            scores float32 [B, min(k, U)], `OUT` where nobody is left, and users int32.
        """
        items = tf.shape(rows)[0]
        # `map_fn` can't stack nothing: in a batch without items a row stands in, and is cut off.
        more = tf.cast(items == 0, tf.int32)
        asked = [
            tf.pad(part, [[0, more], *[[0, 0]] * (part.shape.rank - 1)])
            for part in (*lenders, rows)
        ]
        scores, users = tf.map_fn(
            lambda item: self._best(Lenders(*item[:3]), item[3], k),
            asked,
            fn_output_signature=(tf.float32, tf.int32),
        )
        return scores[:items], users[:items]

    def _best(self, lenders: Lenders, row: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of one item, whose axis B is left out."""
        one = Lenders(*(part[tf.newaxis] for part in lenders))
        worth = self._shelf.served.scores_of(one.anchor, one.weight)[0]
        buyers = self._buyers(row)
        users = tf.size(self._shelf.buyers.reference.read_value())
        candidates = tf.cond(
            users > SMALL,
            lambda: self._candidates(worth, buyers, tf.maximum(k, CANDIDATES)),
            lambda: tf.range(users),
        )
        scores = lenders.demand + self._scores(worth, candidates)
        scores = tf.where(_among(candidates, buyers), OUT, scores)
        heard = take(self._shelf.evidence.of, tf.maximum(row, 0))
        scores, candidates = tf.cond(
            (row != PAD) & (heard != PAD),
            lambda: self._heard(scores, candidates, heard, tf.maximum(k, HEARD)),
            lambda: (scores, candidates),
        )
        best, places = top(scores, k)
        return best, tf.gather(candidates, places)

    def _buyers(self, row: tf.Tensor) -> tf.Tensor:
        """Users who bought the item at a row int64 [], none for PAD: int32 [N], rising."""
        buyers, place = self._shelf.buyers, tf.maximum(row, 0)
        start = buyers.offset[place]
        end = tf.where(row == PAD, start, buyers.offset[place + 1])
        return buyers.user[start:end]

    def _histories(self, users: tf.Tensor) -> tf.RaggedTensor:
        """Rows of the items that users int32 [M] bought: int32 [M, (N)]."""
        return tf.gather(by_rows(self._shelf.user_items, self._shelf.user_offset), users)

    def _candidates(self, worth: tf.Tensor, buyers: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Users who promise the best scores, in rising order: int32 [min(count, U)].

        Everybody's score is estimated from a few anchors: those that say most for the item, as
        many of them as have `POSTINGS` buyers together.

        Args:
            worth: float32 [A], what an anchor in a history adds.
            buyers: int32 [N], users who are left out.
            count: int32 [].
        """
        index = self._shelf.buyers
        order = tf.argsort(worth, direction="DESCENDING")
        item = take(index.anchor_item, order)
        length = take(index.offset, item + 1) - take(index.offset, item)
        before = tf.cumsum(length, exclusive=True)
        taken = tf.reduce_sum(tf.cast(before < POSTINGS, tf.int32))
        posting = tf.gather(by_rows(index.user, index.offset), item[:taken])
        added = tf.nn.relu(tf.gather(worth, order[:taken]))
        inherited = tf.math.unsorted_segment_sum(
            spread(added, posting), posting.values, tf.size(index.base.read_value())
        )
        expected = inherited * index.gain.read_value() + index.base.read_value()
        expected = tf.tensor_scatter_nd_update(
            expected, buyers[:, tf.newaxis], tf.zeros([tf.size(buyers)])
        )
        return tf.sort(_largest(expected, count))

    def _scores(self, worth: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """The scores of users int32 [M] by their whole histories, without demand: float32 [M]."""
        shelf, histories = self._shelf, self._histories(users)
        source, anchors = shelf.served.source.read_value(), tf.size(worth)
        # One number more, for what is no anchor.
        worths = tf.gather(tf.pad(worth, [[0, 1]]), tf.minimum(source, anchors))
        added = tf.gather(worths, histories.values)
        offset = shelf.buyers.offset.read_value()
        is_other = source >= anchors
        were_bought = is_other & (offset[1:] > offset[:-1])

        def with_others() -> tf.Tensor:
            others = tf.where(tf.gather(is_other, histories.values))
            index, weight = shelf.served.lists(tf.gather_nd(histories.values, others))
            said = tf.reduce_sum(tf.gather(worth, index) * positive_attention(weight), axis=1)
            return tf.tensor_scatter_nd_update(added, others, said)

        added = tf.cond(tf.reduce_any(were_bought), with_others, lambda: added)
        return retrieval_logits(
            inherited=row_sums(histories.with_values(added)),
            reference=take(shelf.buyers.reference, users),
            demand=tf.math.log1p(tf.cast(histories.row_lengths(), tf.float32)),
        )

    def _heard(
        self, scores: tf.Tensor, users: tf.Tensor, place: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best users, with what an item's first interactions add to their scores.

        Args:
            scores: float32 [M], without that.
            users: int32 [M].
            place: int32 [], of the item in the columns of evidence.
            count: int32 [], how many users are heard.
        """
        shelf = self._shelf
        best = tf.math.top_k(scores, tf.minimum(count, tf.size(scores)))
        users = tf.gather(users, best.indices)
        histories = self._histories(users)
        known = Bought.of(
            shelf.served,
            tf.cast(histories.values, tf.int64),
            histories.value_rowids(),
            tf.size(users),
        )
        said = evidence_logits(
            shelf.evidence,
            shelf.served,
            tf.nn.relu(known.scores(shelf.served)),
            known.table(),
            places=place[tf.newaxis],
        )
        return tf.where(best.values > OUT, best.values + said[:, 0], OUT), users


def either(is_one: tf.Tensor, one: Lenders, other: Lenders) -> Lenders:
    """Of B items the one or the other lenders: bool [B]. The shorter lists get weights of 0."""
    width = tf.maximum(tf.shape(one.anchor)[1], tf.shape(other.anchor)[1])

    def lists(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        left, right = (
            tf.pad(part, [[0, 0], [0, width - tf.shape(part)[1]]]) for part in (left, right)
        )
        return tf.where(is_one[:, tf.newaxis], left, right)

    return Lenders(
        anchor=lists(one.anchor, other.anchor),
        weight=lists(one.weight, other.weight),
        demand=tf.where(is_one, one.demand, other.demand),
    )


def likeness(cosine: tf.Tensor) -> tf.Tensor:
    """How much a neighbour counts, from its cosine with an item."""
    return tf.nn.relu(cosine) ** _LIKENESS_POWER


def by_likeness(cosine: tf.Tensor) -> tf.Tensor:
    """Weights of neighbours, with sum 1, from their cosines with an item: float32 [.., N]."""
    weight = likeness(cosine)
    return tf.math.divide_no_nan(weight, tf.reduce_sum(weight, axis=-1, keepdims=True))


def _among(users: tf.Tensor, listed: tf.Tensor) -> tf.Tensor:
    """Which of users int32 [M] are listed, int32 [N] in rising order: bool [M]."""
    ordered = tf.pad(listed, [[1, 0]], constant_values=PAD)
    last = tf.searchsorted(ordered, users, side="right") - 1
    return tf.gather(ordered, last) == users


def _largest(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Places of the largest values float32 [N]: int32 [min(count, N)].

    They lie in the blocks with the largest maxima, as many as there are values asked for, or among
    the last ones, too few for a block.
    """
    size = tf.size(values)
    whole = size // _BLOCK
    blocks = tf.reshape(values[: whole * _BLOCK], [-1, _BLOCK])
    maxima = tf.reduce_max(blocks, axis=1)
    chosen = tf.math.top_k(maxima, tf.minimum(count, whole), sorted=False).indices
    places = tf.reshape(chosen[:, tf.newaxis] * _BLOCK + tf.range(_BLOCK), [-1])
    places = tf.concat([places, tf.range(whole * _BLOCK, size)], axis=0)
    found = tf.gather(values, places)
    best = tf.math.top_k(found, tf.minimum(count, size), sorted=False).indices
    return tf.gather(places, best)
