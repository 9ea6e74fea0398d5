"""The query tower's input side: ids, histories and profile text of a request become a `Query`."""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from models import features
from models.columns import take
from models.encoders.encoder import SentenceEncoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.interactions import PAD
from models.shelf.shelf import Shelf
from models.tracing import traced_once
from models.two_tower import TwoTower

Parsed = dict[str, tf.Tensor]
_UNRATED: Final = float("nan")


class Query(NamedTuple):
    """Users as the towers see them.

    Attributes:
        history: int64 [B, H], rows, PAD where there is none.
        rating: float32 [B, H], of the history.
        rated: float32 [B, H], 1 where that rating is known.
        excluded: int64 [B, E], further rows that are never recommended.
        user: int64 [B], row of a known user, whose purchases are never recommended; or PAD.
        profile: float32 [B, D], projected.
    """

    history: tf.Tensor
    rating: tf.Tensor
    rated: tf.Tensor
    excluded: tf.Tensor
    user: tf.Tensor
    profile: tf.Tensor


def query_spec(shelf: Shelf) -> Query:
    """Of the tensors of any users."""
    rows, numbers = (tf.TensorSpec([None, None], dtype) for dtype in (tf.int64, tf.float32))
    return Query(
        history=rows, rating=numbers, rated=numbers, excluded=rows,
        user=tf.TensorSpec([None], tf.int64),
        profile=tf.TensorSpec([None, shelf.embedding.shape[1]], tf.float32),
    )  # fmt: skip


class QueryReader(tf.Module):
    """Looks users and items up on the shelf, and reads profiles with the encoder."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        tokenizer: WordPieceTokenizer,
        encoder: SentenceEncoder,
        model: TwoTower,
        max_tokens: int,
    ) -> None:
        """Take the parts; `max_tokens` word pieces of a profile are read."""
        super().__init__(name="query_reader")
        self._shelf = shelf
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._model = model
        self._max_tokens = max_tokens
        text, table = tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)
        self._encode_profile = traced_once(self._encoded, text)
        self._unrated = traced_once(self._looked_up, text, table)

    def __call__(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor,
        history_rating: tf.Tensor | None = None,
    ) -> Query:  # fmt: skip
        """`histories`, with given profiles in place of the stored ones.

        Args:
            user_id: as there, like the history and its ratings.
            history: see there.
            profile: string [B], "" where there is none; the stored one is taken then.
            history_rating: see there.
        """
        query = self.histories(user_id, history, history_rating)
        has_profile = (profile != "")[:, tf.newaxis]
        return query._replace(
            profile=tf.where(has_profile, self._encode_profile(profile), query.profile)
        )

    def histories(
        self, user_id: tf.Tensor, history: tf.Tensor, history_rating: tf.Tensor | None = None
    ) -> Query:
        """A given history replaces the known one; neither is ever recommended.

        What a known user gave to items of the given history stays known.

        Args:
            user_id: string [B], "" or any unknown id for somebody unknown.
            history: string [B, H], oldest first, "" pads; unknown items are ignored.
            history_rating: float32 [B, H], of the given history, NaN where it is not known.
        """
        if history_rating is None:
            return self._unrated(user_id, history)
        return self._looked_up(user_id, history, history_rating)

    def _looked_up(
        self, user_id: tf.Tensor, history: tf.Tensor, history_rating: tf.Tensor | None = None
    ) -> Query:
        shelf = self._shelf
        user = shelf.user_rows(user_id)
        bought = shelf.purchases(user)
        known = tf.cast(bought.with_values(take(shelf.user_items, bought.values)), tf.int64)
        known_rating = bought.with_values(take(shelf.user_rating, bought.values))
        given = shelf.item_rows(history)
        replaces = tf.reduce_any(given != PAD, axis=1, keepdims=True)
        known, known_rating = known.to_tensor(PAD), known_rating.to_tensor(0.0)
        width = tf.maximum(tf.shape(given)[1], tf.shape(known)[1])
        rows = tf.where(replaces, _widen(given, width, PAD), _widen(known, width, PAD))
        rating, rated = _looked_up(rows, known, known_rating)
        if history_rating is not None:
            told = _widen(history_rating, width, _UNRATED)
            is_told = replaces & (rows != PAD) & ~tf.math.is_nan(told)
            rating, rated = tf.where(is_told, told, rating), rated | is_told
        return Query(
            history=rows,
            rating=rating,
            rated=tf.cast(rated, tf.float32),
            excluded=given,
            user=user,
            profile=tf.where(
                (user != PAD)[:, tf.newaxis],
                shelf.floats("profile", take(shelf.user_profile, tf.maximum(user, 0))),
                0.0,
            ),
        )

    def before_the_launch(self, parsed: Parsed) -> Query:
        """An interaction's own history alone, without the items that training never saw.

        As if all of those were launched today, and as if the user's row were not on the shelf.
        """
        shelf = self._shelf
        rows = shelf.item_rows(parsed[features.HISTORY])
        cold = tf.logical_and(rows != PAD, take(shelf.is_cold, tf.maximum(rows, 0)))
        rows = tf.where(cold, tf.constant(PAD, tf.int64), rows)
        rating = parsed[features.HISTORY_RATING]
        rated = (rows != PAD) & ~tf.math.is_nan(rating)
        return Query(
            history=rows,
            rating=tf.where(rated, rating, 0.0),
            rated=tf.cast(rated, tf.float32),
            excluded=rows,
            user=tf.fill([tf.shape(rows)[0]], tf.constant(PAD, tf.int64)),
            profile=self._encode_profile(parsed[features.PROFILE]),
        )

    def _encoded(self, profile: tf.Tensor) -> tf.Tensor:
        """Projected profiles [B, D]; the encoder only runs where there is one to read."""
        present = profile != ""

        def encode() -> tf.Tensor:
            pieces = self._tokenizer.pieces(profile)
            tokens = self._tokenizer.encoder_input(pieces, self._max_tokens)
            encoded = self._model.profile(self._encoder.infer(tf.cast(tokens, tf.int32)))
            return tf.where(present[:, tf.newaxis], encoded, 0.0)

        size = self._shelf.embedding.shape[1]
        return tf.cond(
            tf.reduce_any(present), encode, lambda: tf.zeros([tf.shape(profile)[0], size])
        )


def never_recommended(users: Query, shelf: Shelf) -> tf.Tensor:
    """Rows that are excluded or were bought: int64 [B, N], PAD where there are fewer."""
    bought = shelf.purchases(users.user)
    rows = bought.with_values(take(shelf.user_items, bought.values))
    return tf.concat([tf.cast(rows.to_tensor(PAD), tf.int64), users.excluded], axis=1)


def parse_interactions(examples: tf.Tensor) -> Parsed:
    """Serialized interactions, as the pipeline ingests them, as dense tensors by feature.

    The rating of an item of the history is NaN where none is given.

    Args:
        examples: string [B].
    """
    parsed: Parsed = tf.io.parse_example(
        examples,
        {
            features.USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
            features.ITEM_ID: tf.io.FixedLenFeature([], tf.string),
            features.PROFILE: tf.io.FixedLenFeature([], tf.string, ""),
            features.RATING: tf.io.FixedLenFeature([], tf.float32, 0.0),
            features.SPAN: tf.io.FixedLenFeature([], tf.int64, 0),
            features.HISTORY: tf.io.RaggedFeature(tf.string),
            features.HISTORY_RATING: tf.io.RaggedFeature(tf.float32),
        },
    )
    history = parsed[features.HISTORY].to_tensor("")
    ratings = parsed[features.HISTORY_RATING].to_tensor(_UNRATED)
    return parsed | {
        features.HISTORY: history,
        features.HISTORY_RATING: _widen(ratings, tf.shape(history)[1], _UNRATED),
    }


def _looked_up(rows: tf.Tensor, known: tf.Tensor, rating: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What users gave to items, and whether they did.

    Args:
        rows: int64 [B, H], PAD where there is none.
        known: int64 [B, N], what the users bought, in any order; PAD likewise.
        rating: float32 [B, N], of that.

    Returns:
        float32 [B, H] and bool [B, H].
    """
    # One column more, because `searchsorted` fails on none.
    wide = [
        tf.pad(ids, [[0, 0], [0, 1]], constant_values=tf.constant(PAD, tf.int64))
        for ids in (rows, known)
    ]
    order = tf.argsort(wide[1], axis=1)
    rising = tf.gather(wide[1], order, batch_dims=1)
    place = tf.minimum(tf.searchsorted(rising, wide[0]), tf.shape(rising)[1] - 1)[:, :-1]
    found = (rows != PAD) & (tf.gather(rising, place, batch_dims=1) == rows)
    column = tf.gather(order, place, batch_dims=1)
    given = tf.gather(tf.pad(rating, [[0, 0], [0, 1]]), column, batch_dims=1)
    return tf.where(found, given, 0.0), found


def _widen(values: tf.Tensor, width: tf.Tensor, fill: float) -> tf.Tensor:
    """Pad or cut the second axis to `width`."""
    values = values[:, :width]
    missing = width - tf.shape(values)[1]
    return tf.pad(values, [[0, 0], [0, missing]], constant_values=tf.cast(fill, values.dtype))
