"""The served model: text and ids in, recommendations out, in stock TensorFlow ops.

One `tf.Module` with explicit signatures. Keras' own `save` trips over the Transform layer, and a
`tfrs.Model` holds a data set that can't be saved.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.adaptation import EvidenceWeights
from models.adapter import Adapter, Support
from models.encoder import TextEncoder
from models.exploration import OUT
from models.interactions import PAD
from models.metrics import COLD_RANK, RANK, RATING, SQUARED_ERROR
from models.query import Query, QueryReader, parse_interactions
from models.scoring import Scorer, top
from models.shelf import Shelf
from models.shortlist import shortlist
from models.tokenizer import WordPieceTokenizer
from models.towers import item_features
from models.two_tower import TwoTower

Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """Everything a model server needs: tokenizer, Transform, towers, heads and shelf."""

    def __init__(
        self,
        *,
        tokenizer: WordPieceTokenizer,
        item_encoder: TextEncoder,
        profile_encoder: TextEncoder,
        model: TwoTower,
        shelf: Shelf,
        evidence: EvidenceWeights,
        catalogue_graph: tft.TFTransformOutput,
        implicit: bool,
        max_tokens: int,
    ) -> None:
        super().__init__(name="debut")
        self._item_encoder = item_encoder
        self._model = model
        self._shelf = shelf
        self._read = QueryReader(
            shelf=shelf,
            tokenizer=tokenizer,
            encoder=profile_encoder,
            model=model,
            max_tokens=max_tokens,
        )
        self._scorer = Scorer(
            shelf=shelf, inheritance=shelf.served, model=model, evidence=shelf.evidence,
            exploration=shelf.exploration,
        )  # fmt: skip
        self._judge = Scorer(shelf=shelf, inheritance=shelf.judged, model=model)
        self._adapter = Adapter(shelf=shelf, weights=evidence)
        # An attribute before tracing, or its vocabulary files are not saved with the model. Not
        # `transform_features_layer()`: that is a Keras model, whose saving traces everything anew.
        self._transform = tf.saved_model.load(catalogue_graph.transform_savedmodel_dir)
        self._implicit = implicit

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
            "describe_items": trace(
                self.describe_items,
                **dict.fromkeys(features.ITEM_TEXT, text),
                price=tf.TensorSpec([None], tf.float32),
            ),
            "embed_users": trace(self.embed_users, **user),
            "similar_items": trace(self.similar_items, item_id=text, k=k),
            "adapt_items": trace(
                self.adapt_items,
                item_id=text,
                user_id=table,
                timestamp=tf.TensorSpec([None, None], tf.int64),
                rating=tf.TensorSpec([None, None], tf.float32),
            ),
        }

    def recommend(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, k: tf.Tensor,
        new_only: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """The best available items of each user, some of them explored.

        Returns:
            item_id string [B, k]; score float32 [B, k]; propensity float32 [B, k], with which the
            item came into the list, 1 where nothing else could stand there.
        """
        query = self._read(user_id, history, profile)
        allowed = self._shelf.available & (~new_only | self._shelf.is_new)
        lists = self._scorer.explored(query, allowed, k, user_id=user_id, history=history)
        listed = self._listed(lists.logit, lists.row)
        columns = tf.shape(listed["score"])[1]
        return listed | {"propensity": lists.propensity[:, :columns]}

    def similar_items(self, item_id: tf.Tensor, k: tf.Tensor) -> Outputs:
        """The nearest available items by cosine: item_id string [B, k], score float32 [B, k]."""
        given = tf.cast(self._known_items(item_id), tf.int32)
        own = self._shelf.embeddings(given)
        available = self._shelf.available.read_value()

        def stays(cosine: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
            others = tf.range(start, end)[:, tf.newaxis] != given
            return tf.where(available[start:end, tf.newaxis] & others, cosine, OUT)

        # The k best items lie in the k best blocks.
        rows = shortlist(own, self._shelf.embedding.read_value(), tf.maximum(k, 1), adjust=stays)
        is_other = tf.gather(available, rows) & (rows != given[:, tf.newaxis])
        cosine = tf.linalg.matvec(self._shelf.embeddings(rows), own)
        best, places = top(tf.where(is_other, cosine, OUT), k)
        return self._listed(best, tf.gather(rows, places, batch_dims=1))

    def score(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, item_id: tf.Tensor
    ) -> Outputs:
        """One item per user: rating float32 [B] in [0, 1] and retrieval score float32 [B]."""
        return self._scored(self._read(user_id, history, profile), self._known_items(item_id))

    def rate_examples(self, examples: tf.Tensor) -> Outputs:
        """`score` for serialized interactions, in the form the pipeline ingests."""
        parsed = parse_interactions(examples)
        query = self._read(
            parsed[features.USER_ID], parsed[features.HISTORY], parsed[features.PROFILE],
            parsed[features.HISTORY_RATING],
        )  # fmt: skip
        return self._scored(query, self._known_items(parsed[features.ITEM_ID]))

    def embed_items(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """Embeddings of products, on the shelf or not: float32 [B, D]."""
        transformed = self._transformed(title, category, brand, description, price)
        return {"embedding": self._embedded(transformed, self._text(transformed))}

    def describe_items(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """All that items are compared by, of products on the shelf or not.

        Returns:
            `embedding` float32 [B, D] as of `embed_items`; and what the item kernel looks at
            (`models.kernel.ItemView`): `text` float32 [B, hidden]; `term` int64 [B, T], PAD at the
            end, and `term_weight` float32 [B, T]; `price_level` float32 [B], NaN where it is
            unknown; `brand_code` int64 [B].
        """
        transformed = self._transformed(title, category, brand, description, price)
        text = self._text(transformed)
        unknown = transformed[features.PRICE_BUCKET] == 0
        return {
            "embedding": self._embedded(transformed, text),
            "text": text,
            "term": transformed[features.TERM_IDS].to_tensor(PAD),
            "term_weight": transformed[features.TERM_WEIGHTS].to_tensor(0.0),
            "price_level": tf.where(unknown, float("nan"), transformed[features.PRICE_LEVEL]),
            "brand_code": transformed[features.BRAND_CODE],
        }

    def _transformed(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """Raw products as Transform leaves them."""
        known = tf.where(tf.logical_not(tf.math.is_nan(price)))
        unused = title[:, tf.newaxis]
        none = tf.zeros(tf.shape(unused), tf.int64)
        transformed: Outputs = self._transform.transform_fn(
            {
                features.ITEM_ID: unused,
                features.AVAILABLE: none,
                features.INTERACTIONS: none,
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
        return transformed

    def _text(self, transformed: Outputs) -> tf.Tensor:
        return self._item_encoder.infer(tf.cast(transformed[features.TOKENS], tf.int32))

    def _embedded(self, transformed: Outputs, text: tf.Tensor) -> tf.Tensor:
        return self._model.items(
            item_features(text, transformed[features.LEXICAL]), transformed[features.PRICE_BUCKET]
        )

    def adapt_items(
        self, item_id: tf.Tensor, user_id: tf.Tensor, timestamp: tf.Tensor, rating: tf.Tensor
    ) -> Outputs:
        """What first interactions make of items, beside those that the shelf knows already.

        Changes nothing: `debut items add` writes the answer on the shelf. An item may stand once
        in a request.

        Args:
            item_id: string [B].
            user_id: string [B, S], "" pads.
            timestamp: int64 [B, S], unix seconds.
            rating: float32 [B, S] in [0, 1]; NaN counts as 1, for implicit feedback.

        Returns:
            See `models.adapter.Adapter`.
        """
        return self._adapter(
            Support(
                row=self._known_items(item_id),
                given=tf.not_equal(user_id, ""),
                user=self._shelf.user_rows(user_id),
                timestamp=timestamp,
                rating=tf.where(tf.math.is_nan(rating), 1.0, rating),
            )
        )

    def embed_users(self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor) -> Outputs:
        """A user's interests, one per item of the history: float32 [B, H, D], zeros pad."""
        query = self._read(user_id, history, profile)
        return {"embedding": self._scorer.interests(query.history)}

    def evaluate(self, examples: tf.Tensor) -> Outputs:
        """What Evaluator averages: rank of the true item, rating and squared error, float32 [B].

        By what items inherit from the train split alone: the served shelf knows the answers. The
        rank is among the items of the interaction's span and of older ones, so that a newer model,
        which knows more items, has the same question to answer as an older one.
        """
        parsed = parse_interactions(examples)
        query = self._read.before_the_launch(parsed)
        items = self._shelf.item_rows(parsed[features.ITEM_ID])
        ranks, cold_ranks = self._judge.ranks(query, items, parsed[features.SPAN])
        rating = self._judge.rating(query, items)
        error = tf.square(rating - parsed[features.RATING])
        if self._implicit:
            drawn = tf.strings.to_hash_bucket_fast(
                tf.strings.join([parsed[features.USER_ID], parsed[features.ITEM_ID]], "\t"), 1 << 30
            )
            negative = tf.math.floormod(drawn, tf.size(self._shelf.is_new, out_type=tf.int64))
            error = (error + tf.square(self._judge.rating(query, negative))) / 2.0
        return {RANK: ranks, COLD_RANK: cold_ranks, RATING: rating, SQUARED_ERROR: error}

    def _scored(self, query: Query, items: tf.Tensor) -> Outputs:
        return {
            "rating": self._scorer.rating(query, items),
            "score": self._scorer.scores(query, items),
        }

    def _listed(self, scores: tf.Tensor, rows: tf.Tensor) -> Outputs:
        """Cut to the longest list of the batch; a shorter one ends in "" with the lowest score."""
        valid = scores > OUT
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
