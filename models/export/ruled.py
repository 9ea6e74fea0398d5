"""Lists that keep the rules: a least share of new items, a cap for each group, and diversity.

What may be in a list at all, and boosts, are settled before candidates are ranked. These three are
about the list as a whole, so they choose among candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from models.columns import Columns
from models.exploration.exploration import OUT
from models.export.lists import BestItems, Wanted, is_listed, top
from models.rules import NO_GROUP, Rules
from models.shelf.shelf import Shelf

# Candidates are more than places in the list, to begin with.
_TIMES: Final = 3
_MORE: Final = 16
# As many are looked at where those can't fill the list as the rules want it.
MOST: Final = 1024
# Places of a list that are filled one after the other; nobody looks at the variety of the others.
DIVERSE: Final = 100
# More than scores differ by: what others lose where new items are to be chosen, if there are any.
_WAITS: Final = 1000.0

Best = Callable[[Wanted], BestItems]


class RuledLists(tf.Module):
    """Chooses from ranked candidates, by rules whose numbers are fixed in the graph."""

    def __init__(self, *, shelf: Shelf, rules: Rules) -> None:
        """Take a shelf with the columns of these rules."""
        super().__init__(name="ruled_lists")
        self._shelf = shelf
        self._columns: Columns = shelf.rules
        self._has_boosts = bool(rules.boosts)
        self._share = rules.new_share
        self._cap = rules.cap.most if rules.cap else None
        self._weight = rules.diversity.weight if rules.diversity else None

    @property
    def allowed(self) -> tf.Tensor:
        """Items that the rules let through: bool [I]."""
        return self._columns.allowed.read_value()

    @property
    def is_capped(self) -> bool:
        """Whether a list holds only so many of a group."""
        return self._cap is not None

    @property
    def boost(self) -> tf.Tensor | None:
        """What is added to logits: float32 [I]; None without boosts."""
        return self._columns.boost.read_value() if self._has_boosts else None

    def __call__(self, best: Best, wanted: Wanted) -> BestItems:
        """Lists of k items for each user.

        A list without enough new items gets the best ones that there are, in the place of the last
        others; the cap goes before that. Diversity chooses among what these two leave.

        Args:
            best: the best items of B users, of a list like the one that is wanted.
            wanted: what the lists are to hold.

        Returns:
            Lists of min(k, I) items; the logit is `OUT` where nothing is left.
        """
        if self._cap is None and not self._share and self._weight is None:
            return best(wanted)
        allowed, k, _ = wanted
        is_new = self._shelf.is_new.read_value()
        new = tf.reduce_sum(tf.cast(allowed & is_new, tf.int32))
        least = tf.cast(tf.math.ceil(self._share * tf.cast(k, tf.float32) - 1e-4), tf.int32)
        least = tf.minimum(least, new) if self._share else tf.constant(0)
        few = _TIMES * k + _MORE
        first = best(wanted._replace(k=few))
        lists = self._chosen(*first, least, k)
        # Fewer candidates than asked for: there are no others.
        is_all = (tf.shape(first[0])[1] < few) | tf.reduce_any(first[0] == OUT, axis=1)
        is_full = tf.reduce_all(lists[0] > OUT, axis=1) | is_all
        does = is_full & (_new_among(lists, is_new) >= least)
        many = tf.maximum(MOST, k)

        def again() -> BestItems:
            scores, rows = best(wanted._replace(k=many))
            if self._share:
                more, new_rows = best(wanted._replace(allowed=allowed & is_new, k=many))
                more = tf.where(is_listed(new_rows, rows), OUT, more)
                scores, places = top(tf.concat([scores, more], axis=1), 2 * many)
                rows = tf.gather(tf.concat([rows, new_rows], axis=1), places, batch_dims=1)
            wider = self._chosen(scores, rows, least, k)
            # A list may not depend on whom the request is answered with.
            keeps = does[:, tf.newaxis]
            return tf.where(keeps, lists[0], wider[0]), tf.where(keeps, lists[1], wider[1])

        scores, rows = tf.cond(tf.reduce_all(does), lambda: lists, again)
        return scores, rows

    def _chosen(
        self, scores: tf.Tensor, rows: tf.Tensor, least: tf.Tensor, k: tf.Tensor
    ) -> BestItems:
        """The lists, of candidates [B, C] in the order of their scores, best first."""
        if self._weight is not None:
            scores, rows = self._diverse_first(scores, rows, least, k)
        is_new = tf.gather(self._shelf.is_new.read_value(), rows)
        valid = scores > OUT
        if self._share:
            # The new items that have a place for sure come first, in their order.
            sure = valid & is_new
            if self._cap is not None:
                sure &= self._within_cap(rows, sure)
            sure &= tf.cumsum(tf.cast(sure, tf.int32), axis=1) <= least
            order = tf.argsort(tf.cast(~sure, tf.int32), axis=1, stable=True)
            scores, rows = (tf.gather(x, order, batch_dims=1) for x in (scores, rows))
            valid = tf.gather(valid, order, batch_dims=1)
        if self._cap is not None:
            valid &= self._within_cap(rows, valid)
        valid &= tf.cumsum(tf.cast(valid, tf.int32), axis=1) <= k
        best, places = top(tf.where(valid, scores, OUT), k)
        return best, tf.gather(rows, places, batch_dims=1)

    def _diverse_first(
        self, scores: tf.Tensor, rows: tf.Tensor, least: tf.Tensor, k: tf.Tensor
    ) -> BestItems:
        """Candidates [B, C] in another order: what diversity chooses stands first.

        Maximal marginal relevance (Carbonell & Goldstein 1998): the next one is that whose score
        less the weight times its greatest cosine with those chosen before is best, among those
        whose group has room. Where no more places are left than new items are still wanted, only
        new ones are chosen.
        """
        assert self._weight is not None
        # So that a product of two is the loss.
        own = math.sqrt(self._weight) * self._shelf.embeddings(rows)
        is_new = tf.gather(self._shelf.is_new.read_value(), rows)
        places = tf.range(tf.shape(rows)[1])
        steps = tf.minimum(tf.minimum(k, DIVERSE), tf.size(places))
        state = {
            "turn": tf.broadcast_to(steps + places, tf.shape(rows)),
            "left": scores,  # `OUT` once chosen
            "loss": tf.zeros_like(scores),
        }
        if self._cap is not None:
            group = self._groups(rows)
            state["listed"] = tf.zeros_like(rows)  # of the candidate's group
        if self._share:
            state["free"] = tf.fill(tf.shape(rows)[:1], k - least)  # places for others than new
            waits = tf.where(is_new, 0.0, _WAITS)

        # Each step is made of few ops, because on so few numbers an op costs what ops cost.
        def choose(turn: tf.Tensor, now: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Any]:
            marginal = now["left"] - now["loss"]
            if self._cap is not None:
                marginal = tf.where(now["listed"] < self._cap, marginal, OUT)
            if self._share:
                marginal -= tf.where(now["free"][:, tf.newaxis] > 0, 0.0, waits)
            place = tf.argmax(marginal, axis=1, output_type=tf.int32)
            chosen = places == place[:, tf.newaxis]
            # One product and a sum: a batched matvec takes ten times as long to begin.
            listed = tf.gather(own, place, batch_dims=1)[:, tf.newaxis]
            then = {
                "turn": tf.where(chosen, turn, now["turn"]),
                "left": tf.where(chosen, OUT, now["left"]),
                "loss": tf.maximum(now["loss"], tf.reduce_sum(own * listed, axis=2)),
            }
            if self._cap is not None:
                same = group == tf.gather(group, place, batch_dims=1)[:, tf.newaxis]
                then["listed"] = now["listed"] + tf.cast(same, tf.int32)
            if self._share:
                is_other = ~tf.gather(is_new, place, batch_dims=1)
                then["free"] = now["free"] - tf.cast(is_other, tf.int32)
            return turn + 1, then

        _, last = tf.while_loop(lambda turn, _: turn < steps, choose, (tf.constant(0), state))
        order = tf.argsort(last["turn"], axis=1, stable=True)
        return tuple(tf.gather(x, order, batch_dims=1) for x in (scores, rows))

    def _groups(self, rows: tf.Tensor) -> tf.Tensor:
        """Codes of groups int64 [B, C], each item without one being a group of its own."""
        group = tf.gather(self._columns.group.read_value(), rows)
        return tf.where(group == NO_GROUP, -2 - tf.cast(rows, tf.int64), group)

    def _within_cap(self, rows: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """Whether fewer of an item's group stand before it than the cap: bool [B, C].

        Of those that are counted, bool [B, C]; whichever is within the cap counts, and what comes
        after a full group is over it, so the first of a group are those that stay.
        """
        place = tf.broadcast_to(tf.range(tf.shape(rows)[1]), tf.shape(rows))
        # What is not counted is a group of its own too.
        key = tf.where(counted, self._groups(rows), -2 - tf.cast(rows, tf.int64))
        order = tf.argsort(key, axis=1, stable=True)
        ordered = tf.gather(key, order, batch_dims=1)
        before = place - tf.searchsorted(ordered, ordered)
        before = tf.gather(before, tf.argsort(order, axis=1), batch_dims=1)
        return before < self._cap


def _new_among(lists: BestItems, is_new: tf.Tensor) -> tf.Tensor:
    scores, rows = lists
    return tf.reduce_sum(tf.cast((scores > OUT) & tf.gather(is_new, rows), tf.int32), axis=1)
