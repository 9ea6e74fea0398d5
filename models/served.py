"""The served model: text and ids in, recommendations out, in stock TensorFlow ops.

One `tf.Module` with explicit signatures. Keras' own `save` trips over the Transform layer, and a
`tfrs.Model` holds a data set that can't be saved.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.encoder import TextEncoder
from models.encoder_folder import EncoderFolder
from models.interactions import PAD
from models.metrics import COLD_RANK, RANK, RATING, SQUARED_ERROR
from models.rating import mean_interest
from models.shelf import Shelf
from models.tokenizer import WordPieceTokenizer
from models.towers import item_features
from models.two_tower import TwoTower

# Stands for "no candidate": lower than any logit, yet finite.
_OUT: Final = tf.float32.min
Outputs = dict[str, tf.Tensor]


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


class ServedModel(tf.Module):
    """Everything a model server needs: tokenizer, Transform, towers, heads and shelf."""

    def __init__(
        self,
        *,
        folder: EncoderFolder,
        item_encoder: TextEncoder,
        profile_encoder: TextEncoder,
        model: TwoTower,
        shelf: Shelf,
        catalogue_graph: tft.TFTransformOutput,
        implicit: bool,
        max_tokens: int,
    ) -> None:
        super().__init__(name="debut")
        self._tokenizer = WordPieceTokenizer(folder)
        self._item_encoder = item_encoder
        self._profile_encoder = profile_encoder
        self._model = model
        self._shelf = shelf
        # An attribute before tracing, or its vocabulary files are not saved with the model. Not
        # `transform_features_layer()`: that is a Keras model, whose saving traces everything anew.
        self._transform = tf.saved_model.load(catalogue_graph.transform_savedmodel_dir)
        self._implicit = implicit
        self._max_tokens = max_tokens

    def signatures(self) -> dict[str, Any]:
        """The concrete functions by name; their inputs and outputs are the public contract."""
        text = tf.TensorSpec([None], tf.string)
        table = tf.TensorSpec([None, None], tf.string)
        k = tf.TensorSpec([], tf.int32)

        def trace(function: Any, **inputs: tf.TensorSpec) -> Any:
            named = {name: tf.TensorSpec(s.shape, s.dtype, name) for name, s in inputs.items()}
            return tf.function(function, autograph=False).get_concrete_function(**named)

        user = {"user_id": text, "history": table, "profile": text}
        return {
            "serving_default": trace(self.rate_examples, examples=text),
            "evaluate": trace(self.evaluate, examples=text),
            "recommend": trace(self.recommend, **user, k=k, new_only=tf.TensorSpec([], tf.bool)),
            "score": trace(self.score, **user, item_id=text),
            "embed_items": trace(
                self.embed_items,
                **dict.fromkeys(features.ITEM_TEXT, text),
                price=tf.TensorSpec([None], tf.float32),
            ),
            "embed_users": trace(self.embed_users, **user),
            "similar_items": trace(self.similar_items, item_id=text, k=k),
        }

    def recommend(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, k: tf.Tensor,
        new_only: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """The best items of each user: item_id string [B, k], score float32 [B, k]."""
        query = self._query(user_id, history, profile)
        allowed = tf.logical_or(tf.logical_not(new_only), self._shelf.is_new)

        def best(user: Query) -> tuple[tf.Tensor, tf.Tensor]:
            logits = tf.where(allowed, self._logits(user), _OUT)
            bought = _without(logits, self._purchases(user.user))
            return self._top(_without(bought, user.excluded), k)

        return self._listed(*tf.map_fn(best, query, fn_output_signature=(tf.float32, tf.int32)))

    def similar_items(self, item_id: tf.Tensor, k: tf.Tensor) -> Outputs:
        """The nearest items by cosine: item_id string [B, k], score float32 [B, k]."""
        rows = self._known_items(item_id)
        everything = self._shelf.embeddings()
        cosine = tf.matmul(tf.gather(everything, rows), everything, transpose_b=True)
        itself = tf.one_hot(rows, tf.shape(everything)[0], on_value=True, off_value=False)
        return self._listed(*self._top(tf.where(itself, _OUT, cosine), k))

    def score(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, item_id: tf.Tensor
    ) -> Outputs:
        """One item per user: rating float32 [B] in [0, 1] and retrieval score float32 [B]."""
        return self._scored(self._query(user_id, history, profile), self._known_items(item_id))

    def rate_examples(self, examples: tf.Tensor) -> Outputs:
        """`score` for serialized interactions, in the form the pipeline ingests."""
        parsed = _parse(examples)
        query = self._query(
            parsed[features.USER_ID], parsed[features.HISTORY], parsed[features.PROFILE],
            parsed[features.HISTORY_RATING],
        )  # fmt: skip
        return self._scored(query, self._known_items(parsed[features.ITEM_ID]))

    def embed_items(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """Embeddings of products, on the shelf or not: float32 [B, D]."""
        known = tf.where(tf.logical_not(tf.math.is_nan(price)))
        unused = title[:, tf.newaxis]
        transformed = self._transform.transform_fn(
            {
                features.ITEM_ID: unused,
                features.INTERACTIONS: tf.zeros(tf.shape(unused), tf.int64),
                features.TITLE: title[:, tf.newaxis],
                features.CATEGORY: category[:, tf.newaxis],
                features.BRAND: brand[:, tf.newaxis],
                features.DESCRIPTION: description[:, tf.newaxis],
                features.PRICE: tf.SparseTensor(
                    indices=tf.pad(known, [[0, 0], [0, 1]]),
                    values=tf.gather_nd(price, known),
                    dense_shape=[tf.shape(price, out_type=tf.int64)[0], 1],
                ),
            }
        )
        text = self._item_encoder.infer(tf.cast(transformed[features.TOKENS], tf.int32))
        embedding, _, _ = self._model.items(
            item_features(text, transformed[features.LEXICAL]), transformed[features.PRICE_BUCKET]
        )
        return {"embedding": embedding}

    def embed_users(self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor) -> Outputs:
        """A user's interests, one per item of the history: float32 [B, H, D], zeros pad."""
        query = self._query(user_id, history, profile)
        return {"embedding": self._interests(query.history)}

    def evaluate(self, examples: tf.Tensor) -> Outputs:
        """What Evaluator averages: rank of the true item, rating and squared error, float32 [B].

        Only the example's own history counts, and items that training never saw are struck from
        it, as if all of them were launched today. An item this model does not know ranks last.
        Ties rank behind, so that a collapsed model is not mistaken for a perfect one.
        """
        parsed = _parse(examples)
        shelf = self._shelf
        rows = shelf.item_rows(parsed[features.HISTORY])
        is_cold = shelf.is_cold.read_value()
        cold = tf.logical_and(rows != PAD, tf.gather(is_cold, tf.maximum(rows, 0)))
        rows = tf.where(cold, tf.constant(PAD, tf.int64), rows)
        query = Query(
            history=rows,
            rating=parsed[features.HISTORY_RATING],
            rated=tf.cast(rows != PAD, tf.float32),
            excluded=rows,
            user=tf.fill([tf.shape(rows)[0]], tf.constant(PAD, tf.int64)),
            profile=self._encode_profile(parsed[features.PROFILE]),
        )
        items = shelf.item_rows(parsed[features.ITEM_ID])
        ranks, cold_ranks = tf.map_fn(
            lambda row: self._ranks(*row), (query, items),
            fn_output_signature=(tf.float32, tf.float32),
        )  # fmt: skip
        rating = self._rating(query, items)
        error = tf.square(rating - parsed[features.RATING])
        if self._implicit:
            drawn = tf.strings.to_hash_bucket_fast(
                tf.strings.join([parsed[features.USER_ID], parsed[features.ITEM_ID]], "\t"), 1 << 30
            )
            negative = tf.math.floormod(drawn, tf.size(shelf.is_new, out_type=tf.int64))
            error = (error + tf.square(self._rating(query, negative))) / 2.0
        return {RANK: ranks, COLD_RANK: cold_ranks, RATING: rating, SQUARED_ERROR: error}

    def _query(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor,
        history_rating: tf.Tensor | None = None,
    ) -> Query:  # fmt: skip
        """A given history replaces the known one; neither is ever recommended."""
        shelf = self._shelf
        user = shelf.user_rows(user_id)
        is_known = (user != PAD)[:, tf.newaxis]
        place = tf.maximum(user, 0)
        known = tf.where(is_known, tf.cast(tf.gather(shelf.user_history, place), tf.int64), PAD)
        given = shelf.item_rows(history)
        replaces = tf.reduce_any(given != PAD, axis=1, keepdims=True)
        width = tf.maximum(tf.shape(given)[1], tf.shape(known)[1])
        rows = tf.where(replaces, _widen(given, width, PAD), _widen(known, width, PAD))
        ratings = _widen(tf.gather(shelf.user_rating, place), width, 0.0)
        rated = is_known & ~replaces & (rows != PAD)
        if history_rating is not None:
            ratings = tf.where(replaces, _widen(history_rating, width, 0.0), ratings)
            rated |= replaces & (rows != PAD)
        stored = tf.where(is_known, tf.gather(shelf.user_profile, place), 0.0)
        has_profile = (profile != "")[:, tf.newaxis]
        return Query(
            history=rows,
            rating=ratings,
            rated=tf.cast(rated, tf.float32),
            excluded=given,
            user=user,
            profile=tf.where(has_profile, self._encode_profile(profile), stored),
        )

    def _encode_profile(self, profile: tf.Tensor) -> tf.Tensor:
        """Projected profiles [B, D]; the encoder only runs where there is one to read."""
        present = profile != ""

        def encode() -> tf.Tensor:
            pieces = self._tokenizer.pieces(profile)
            tokens = self._tokenizer.encoder_input(pieces, self._max_tokens)
            encoded = self._model.profile(self._profile_encoder.infer(tf.cast(tokens, tf.int32)))
            return tf.where(present[:, tf.newaxis], encoded, 0.0)

        size = self._shelf.embedding.shape[1]
        return tf.cond(
            tf.reduce_any(present), encode, lambda: tf.zeros([tf.shape(profile)[0], size])
        )

    def _logits(self, user: Query, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Logits of one user: float32 [I], or [N] where rows int64 [N] are given."""
        shelf, retrieval = self._shelf, self._model.retrieval
        history = tf.boolean_mask(user.history, user.history != PAD)

        def pick(column: tf.Tensor) -> tf.Tensor:
            return column if rows is None else tf.gather(column, rows)

        items = pick(shelf.embeddings())
        affinity = tf.cond(
            tf.reduce_any(user.profile != 0.0),
            lambda: tf.linalg.matvec(items, user.profile),
            lambda: tf.zeros([tf.shape(items)[0]]),
        )

        def from_history() -> tf.Tensor:
            interests = tf.gather(shelf.embeddings(), history)
            inherited = self._inherited(history)
            cold = tf.cast(shelf.is_cold, tf.float32)
            reference = tf.math.divide_no_nan(
                tf.reduce_sum(tf.nn.relu(inherited) * cold), tf.reduce_sum(cold)
            )
            return retrieval.combine(
                near=tf.reduce_sum(retrieval.nearness(items, interests), axis=1),
                inherited=pick(inherited),
                reference=reference,
                length=tf.cast(tf.size(history), tf.float32),
                demand=pick(shelf.demand.read_value()),
            )

        from_nothing = pick(shelf.fallback.read_value())
        return affinity + tf.cond(tf.size(history) > 0, from_history, lambda: from_nothing)

    def _purchases(self, user: tf.Tensor) -> tf.Tensor:
        """All rows a known user has bought: int64 [] to int64 [N]; none for PAD."""
        shelf = self._shelf
        place = tf.maximum(user, 0)
        start, end = shelf.user_offset[place], shelf.user_offset[place + 1]
        end = tf.where(user == PAD, start, end)
        return tf.cast(shelf.user_items[start:end], tf.int64)

    def _inherited(self, history: tf.Tensor) -> tf.Tensor:
        """Anchor scores handed to every item: int64 [H] to float32 [I]."""
        shelf = self._shelf
        anchors = tf.gather(shelf.anchor_of, history)
        anchors = tf.boolean_mask(anchors, anchors != PAD)
        count = shelf.anchor_teacher.shape[1]
        bought = tf.math.unsorted_segment_max(tf.ones_like(anchors, tf.float32), anchors, count)
        scores = self._model.retrieval.anchor_scores(
            tf.reduce_sum(tf.gather(shelf.anchor_teacher, anchors), axis=0), tf.nn.relu(bought)
        )
        return tf.reduce_sum(tf.gather(scores, shelf.anchor_index) * shelf.anchor_weight, axis=1)

    def _scored(self, query: Query, items: tf.Tensor) -> Outputs:
        scores = tf.map_fn(
            lambda row: self._logits(row[0], row[1][tf.newaxis])[0], (query, items),
            fn_output_signature=tf.float32,
        )  # fmt: skip
        return {"rating": self._rating(query, items), "score": scores}

    def _rating(self, query: Query, items: tf.Tensor) -> tf.Tensor:
        present = tf.cast(query.history != PAD, tf.float32)
        known = tf.cast(items != PAD, tf.float32)[:, tf.newaxis]
        rating = self._model.rating(
            ratings=query.rating,
            rated=query.rated,
            history=mean_interest(self._interests(query.history), present),
            profile=query.profile,
            item=tf.gather(self._shelf.embeddings(), tf.maximum(items, 0)) * known,
        )
        return tf.clip_by_value(rating, 0.0, 1.0)

    def _interests(self, history: tf.Tensor) -> tf.Tensor:
        present = tf.cast(history != PAD, tf.float32)[:, :, tf.newaxis]
        return tf.gather(self._shelf.embeddings(), tf.maximum(history, 0)) * present

    def _ranks(self, user: Query, item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidates = _without(self._logits(user), user.excluded)
        own = tf.where(item == PAD, _OUT, candidates[tf.maximum(item, 0)])
        ahead = tf.cast(candidates >= own, tf.float32)
        cold = tf.cast(self._shelf.is_cold, tf.float32)
        # The item itself counts once, also where it is not cold or not known.
        itself = tf.one_hot(item, tf.size(candidates))
        rank = tf.reduce_sum(ahead * (1.0 - itself)) + 1.0
        return rank, tf.reduce_sum(ahead * cold * (1.0 - itself)) + 1.0

    def _top(self, logits: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.control_dependencies(
            [tf.debugging.Assert(k >= 1, ["k must be at least 1, it is", k])]
        ):
            best = tf.math.top_k(logits, k=tf.minimum(k, tf.shape(logits)[-1]))
        return best.values, best.indices

    def _listed(self, scores: tf.Tensor, rows: tf.Tensor) -> Outputs:
        """Cut to the longest list of the batch; a shorter one ends in "" with the lowest score."""
        valid = scores > _OUT
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1))
        ids = tf.where(valid, self._shelf.item_ids(rows), "")
        return {"item_id": ids[:, :longest], "score": scores[:, :longest]}

    def _known_items(self, item_id: tf.Tensor) -> tf.Tensor:
        rows = self._shelf.item_rows(item_id)
        unknown = tf.boolean_mask(item_id, rows == PAD)
        check = tf.debugging.Assert(
            tf.size(unknown) == 0, ["item_id is not in the catalogue:", unknown]
        )
        with tf.control_dependencies([check]):
            return tf.identity(rows)


def _parse(examples: tf.Tensor) -> dict[str, tf.Tensor]:
    parsed: dict[str, tf.Tensor] = tf.io.parse_example(
        examples,
        {
            features.USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
            features.ITEM_ID: tf.io.FixedLenFeature([], tf.string),
            features.PROFILE: tf.io.FixedLenFeature([], tf.string, ""),
            features.RATING: tf.io.FixedLenFeature([], tf.float32, 0.0),
            features.HISTORY: tf.io.RaggedFeature(tf.string),
            features.HISTORY_RATING: tf.io.RaggedFeature(tf.float32),
        },
    )
    history = parsed[features.HISTORY].to_tensor("")
    ratings = parsed[features.HISTORY_RATING].to_tensor(0.0)
    return parsed | {
        features.HISTORY: history,
        features.HISTORY_RATING: _widen(ratings, tf.shape(history)[1], 0.0),
    }


def _widen(values: tf.Tensor, width: tf.Tensor, fill: float) -> tf.Tensor:
    """Pad or cut the second axis to `width`."""
    values = values[:, :width]
    missing = width - tf.shape(values)[1]
    return tf.pad(values, [[0, 0], [0, missing]], constant_values=tf.cast(fill, values.dtype))


def _without(logits: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Strike rows int64 [E] (PAD is none) from logits float32 [I]."""
    rows = tf.boolean_mask(rows, rows != PAD)
    return tf.tensor_scatter_nd_update(logits, rows[:, tf.newaxis], tf.fill([tf.size(rows)], _OUT))
