"""The served model: text and ids in, recommendations out, in stock TensorFlow ops.

One `tf.Module` with explicit signatures. Keras' own `save` trips over the Transform layer, and a
`tfrs.Model` holds a data set that can't be saved.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.columns import take
from models.debiasing.metrics import ASKED, BUYERS
from models.encoders.encoder import SentenceEncoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.exploration.exploration import OUT, Lists
from models.export.adapter import Adapter, Support
from models.export.audience import Audience, Lenders, either
from models.export.explanation import Explainer, WordReader
from models.export.explored import ExploredLists
from models.export.judge import Judge, drawn_like
from models.export.lists import Wanted, top
from models.export.query import Query, QueryReader, parse_interactions, query_spec
from models.export.rater import Rater
from models.export.retriever import Retriever
from models.export.ruled import RuledLists
from models.export.scoring import Scorer
from models.export.shortlist import shortlist
from models.exposure.metrics import OUTPUTS as EXPOSURE
from models.few_shot.weights import EvidenceWeights
from models.interactions import PAD
from models.metrics import COLD_RANK, GIVEN, RANK, RATED, RATING, SQUARED_ERROR
from models.preprocessing import item_text
from models.purchase_chance import PurchaseChance
from models.rules import Rules
from models.shelf.shelf import Shelf
from models.towers import item_features
from models.tracing import branches_as_calls, traced_once
from models.two_tower import TwoTower

Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """Everything a model server needs: tokenizer, Transform, towers, heads and shelf."""

    def __init__(
        self,
        *,
        tokenizer: WordPieceTokenizer,
        item_encoder: SentenceEncoder,
        profile_encoder: SentenceEncoder,
        model: TwoTower,
        shelf: Shelf,
        evidence: EvidenceWeights,
        catalogue_graph: tft.TFTransformOutput,
        chance: PurchaseChance | None,
        max_tokens: int,
        rules: Rules | None = None,
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
            shelf=shelf, inheritance=shelf.served, evidence=shelf.evidence,
            exploration=shelf.exploration,
        )  # fmt: skip
        self._retrieve = Retriever(
            shelf=shelf, scorer=self._scorer, has_boosts=bool(rules and rules.boosts)
        )
        self._explored = ExploredLists(shelf=shelf, scorer=self._scorer)
        self._rate = Rater(shelf=shelf, inheritance=shelf.served, model=model, chance=chance)
        self._judged_scorer = Scorer(shelf=shelf, inheritance=shelf.judged)
        self._judge = Judge(shelf=shelf, scorer=self._judged_scorer)
        self._judge_rating = Rater(
            shelf=shelf, inheritance=shelf.judged, model=model, chance=chance
        )
        self._adapter = Adapter(shelf=shelf, weights=evidence)
        self._ruled = RuledLists(shelf=shelf, rules=rules) if rules else None
        self._audience = Audience(shelf)
        self._read_words = WordReader(tokenizer=tokenizer, encoder=item_encoder)
        self._explainer = Explainer(
            shelf=shelf,
            scorer=self._scorer,
            model=model,
            vocabulary_size=tokenizer.vocabulary_size,
        )
        # An attribute before tracing, or its vocabulary files are not saved with the model. Not
        # `transform_features_layer()`: that is a Keras model, whose saving traces everything anew.
        self._transform = tf.saved_model.load(catalogue_graph.transform_savedmodel_dir)
        text = tf.TensorSpec([None], tf.string)
        self._embed = traced_once(
            self._embed_products,
            *[text] * len(features.ITEM_TEXT),
            tf.TensorSpec([None], tf.float32),
        )
        self._scored = traced_once(
            self._score_and_rate, query_spec(shelf), tf.TensorSpec([None], tf.int64)
        )
        self._is_implicit = chance is not None

    @branches_as_calls()
    def signatures(self) -> dict[str, Any]:
        """The concrete functions by name; their inputs and outputs are the public contract."""
        text = tf.TensorSpec([None], tf.string)
        table = tf.TensorSpec([None, None], tf.string)
        k = tf.TensorSpec([], tf.int32)

        def trace(function: Any, **inputs: tf.TensorSpec) -> Any:
            named = {name: tf.TensorSpec(s.shape, s.dtype, name) for name, s in inputs.items()}
            return tf.function(function, autograph=False).get_concrete_function(**named)

        user = {"user_id": text, "history": table, "profile": text}
        product = {
            **dict.fromkeys(features.ITEM_TEXT, text),
            "price": tf.TensorSpec([None], tf.float32),
        }
        return {
            "serving_default": trace(self.rate_examples, examples=text),
            "evaluate": trace(self.evaluate, examples=text),
            "recommend": trace(self.recommend, **user, k=k, new_only=tf.TensorSpec([], tf.bool)),
            "score": trace(self.score, **user, item_id=text),
            "explain": trace(self.explain, **user, item_id=text),
            "embed_items": trace(self.embed_items, **product),
            "describe_items": trace(self.describe_items, **product),
            "embed_users": trace(self.embed_users, **user),
            "similar_items": trace(self.similar_items, item_id=text, k=k),
            "audience": trace(self.audience, item_id=text, **product, k=k),
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
        available = self._shelf.available.read_value()
        # Rules ask for a multiple of k, which may not overflow.
        k = tf.minimum(k, tf.size(available))
        # Not `available & (~new_only | is_new)`: that goes over a large catalogue for nothing.
        allowed = tf.cond(
            new_only, lambda: available & self._shelf.is_new.read_value(), lambda: available
        )
        if self._ruled is None:
            wanted = Wanted(allowed, k)
            usual = self._retrieve(query, wanted)
        else:
            wanted = Wanted(allowed & self._ruled.allowed, k, self._ruled.boost)
            usual = self._ruled(lambda wanted: self._retrieve(query, wanted), wanted)
        if self._ruled is not None and self._ruled.is_capped:
            # A cap is about the whole list, and what explores would not heed it.
            lists = Lists(*usual, tf.ones_like(usual[0]))
        else:
            lists = self._explored(query, usual, wanted, user_id=user_id, history=history)
        listed = self._listed(lists.logit, lists.row)
        columns = tf.shape(listed["score"])[1]
        return listed | {"propensity": lists.propensity[:, :columns]}

    def similar_items(self, item_id: tf.Tensor, k: tf.Tensor) -> Outputs:
        """The nearest available items by cosine: item_id string [B, k], score float32 [B, k]."""
        given = tf.cast(self._known_items(item_id), tf.int32)
        own = self._shelf.embeddings(given)
        offered = self._shelf.available.read_value()
        if self._ruled is not None:
            offered &= self._ruled.allowed

        def stays(cosine: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
            others = tf.range(start, end)[:, tf.newaxis] != given
            return tf.where(offered[start:end, tf.newaxis] & others, cosine, OUT)

        # The k best items lie in the k best blocks.
        rows = shortlist(own, self._shelf.embedding.read_value(), tf.maximum(k, 1), adjust=stays)
        is_other = tf.gather(offered, rows) & (rows != given[:, tf.newaxis])
        cosine = tf.linalg.matvec(self._shelf.embeddings(rows), own)
        best, places = top(tf.where(is_other, cosine, OUT), k)
        return self._listed(best, tf.gather(rows, places, batch_dims=1))

    def audience(
        self, item_id: tf.Tensor, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor,
        description: tf.Tensor, price: tf.Tensor, k: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """The best users for items on the shelf, or for products that are not there.

        Whoever bought an item is left out. The scores are those of `models.export.audience`.

        Args:
            item_id: string [B]; of a row with an id the texts and the price are not read.
            title: string [B], like the other texts for rows with the id "".
            category: string [B].
            brand: string [B].
            description: string [B].
            price: float32 [B], NaN where it is unknown.
            k: int32 [].

        Returns:
            user_id string [B, k] and score float32 [B, k].
        """
        is_given = tf.not_equal(item_id, "")
        rows = self._known_items(item_id, optional=True)
        words = tf.strings.join([title, category, brand, description])
        check = tf.debugging.Assert(
            tf.reduce_all(is_given | tf.not_equal(words, "")),
            ["item_id is empty, and so are the texts: give one or the other"],
        )
        on_shelf = self._audience.on_shelf(rows)

        def with_texts() -> Lenders:
            by_text = self._audience.by_text(
                self._embed(title, category, brand, description, price)
            )
            return either(is_given, on_shelf, by_text)

        with tf.control_dependencies([check]):
            lenders = tf.cond(tf.reduce_all(is_given), lambda: on_shelf, with_texts)
        scores, users = self._audience.best(lenders, rows, k)
        ids, scores = _cut(scores, self._shelf.user_ids(users))
        return {"user_id": ids, "score": scores}

    def score(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, item_id: tf.Tensor
    ) -> Outputs:
        """One item per user: rating float32 [B] in [0, 1] and retrieval score float32 [B]."""
        query = self._read(user_id, history, profile)
        return self._scored(query, self._known_items(item_id))

    def explain(
        self, user_id: tf.Tensor, history: tf.Tensor, profile: tf.Tensor, item_id: tf.Tensor
    ) -> Outputs:
        """What each item of the history and each word adds to the score of one item per user.

        Returns:
            Those of `models.export.explanation.Explainer`, with ids for `history_item`.
        """
        query, rows = self._read(user_id, history, profile), self._known_items(item_id)
        name = take(self._shelf.item_name, rows)
        blank = tf.fill(tf.shape(name), "")
        price = tf.fill(tf.shape(name), float("nan"))
        transformed = self._transformed(name, blank, blank, blank, price)
        reading = self._read_words(
            item_text({features.TITLE: name}, [features.TITLE]),
            transformed[features.TOKENS],
            (transformed[features.TERM_IDS], transformed[features.TERM_WEIGHTS]),
            transformed[features.PRICE_BUCKET],
        )
        answer = self._explainer(query, rows, reading)
        return answer | {"history_item": self._shelf.item_ids(answer["history_item"])}

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
        return {"embedding": self._embed(title, category, brand, description, price)}

    def describe_items(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> Outputs:  # fmt: skip
        """All that items are compared by, of products on the shelf or not.

        Returns:
            `embedding` float32 [B, D] as of `embed_items`; and what the item kernel looks at
            (`models.inheritance.kernel.ItemView`): `text` float32 [B, hidden]; `term` int64 [B, T],
            PAD at the end, and `term_weight` float32 [B, T]; `price_level` float32 [B], NaN where
            it is unknown; `brand_code` int64 [B].
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

    def _embed_products(
        self, title: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, description: tf.Tensor,
        price: tf.Tensor,
    ) -> tf.Tensor:  # fmt: skip
        transformed = self._transformed(title, category, brand, description, price)
        return self._embedded(transformed, self._text(transformed))

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
            See `models.export.adapter.Adapter`.
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
        query = self._read.histories(user_id, history)
        return {"embedding": self._rate.interests(query.history)}

    def evaluate(self, examples: tf.Tensor) -> Outputs:
        """What Evaluator averages: rank of the true item, rating and squared error, float32 [B].

        And the ratings that the error is made of, with what was given: float32 [B, 1], with
        implicit feedback [B, 2]; the lists that the true item is ranked in, of which it takes the
        exposure; the row of that item, PAD where it is unknown; and how many users have it, by
        which the mean is put right.

        By what items inherit from the train split alone: the served shelf knows the answers. The
        rank is among the items of the interaction's span and of older ones, so that a newer model,
        which knows more items, has the same question to answer as an older one.
        """
        parsed = parse_interactions(examples)
        query = self._read.before_the_launch(parsed)
        items = self._shelf.item_rows(parsed[features.ITEM_ID])
        ranked = self._judge(query, items, parsed[features.SPAN])
        rated = [items]
        if self._is_implicit:
            drawn = tf.strings.to_hash_bucket_fast(
                tf.strings.join([parsed[features.USER_ID], parsed[features.ITEM_ID]], "\t"), 1 << 30
            )
            rated.append(drawn_like(items, drawn, self._shelf))
        ratings = self._judged_ratings(query, rated)
        truth = parsed[features.RATING]
        given = tf.stack([truth, tf.zeros_like(truth)][: len(rated)], axis=1)
        return {
            RANK: ranked.rank, COLD_RANK: ranked.cold_rank, RATING: ratings[:, 0],
            SQUARED_ERROR: tf.reduce_mean(tf.square(ratings - given), axis=1),
            RATED: ratings, GIVEN: given,
            ASKED: tf.cast(items, tf.int32), BUYERS: self._buyers(items),
            **{name: getattr(ranked, name) for name in EXPOSURE},
        }  # fmt: skip

    def _judged_ratings(self, query: Query, rated: list[tf.Tensor]) -> tf.Tensor:
        """Of N items for each user, rows int64 [B] each, by scores of one go: float32 [B, N]."""
        logits = self._judged_scorer.logits_at(query, tf.maximum(tf.stack(rated, axis=1), 0))
        ratings = [
            self._judge_rating(query, rows, logits[:, place]) for place, rows in enumerate(rated)
        ]
        return tf.stack(ratings, axis=1)

    def _buyers(self, items: tf.Tensor) -> tf.Tensor:
        """How many users have each item, 0 for PAD: rows int64 [B] to float32 [B]."""
        offset, place = self._shelf.buyers.offset, tf.maximum(items, 0)
        count = tf.cast(take(offset, place + 1) - take(offset, place), tf.float32)
        return tf.where(items == PAD, 0.0, count)

    def _score_and_rate(self, query: Query, items: tf.Tensor) -> Outputs:
        score = self._scorer.score(query, items)
        return {"rating": self._rate(query, items, score), "score": score}

    def _listed(self, scores: tf.Tensor, rows: tf.Tensor) -> Outputs:
        ids, scores = _cut(scores, self._shelf.item_ids(rows))
        return {"item_id": ids, "score": scores}

    def _known_items(self, item_id: tf.Tensor, *, optional: bool = False) -> tf.Tensor:
        """Rows of ids; where they are optional, "" is none and its row PAD."""
        rows = self._shelf.item_rows(item_id)
        is_missing = (rows == PAD) & (tf.not_equal(item_id, "") | (not optional))
        unknown = tf.gather(item_id, tf.where(is_missing)[:, 0])
        check = tf.debugging.Assert(
            tf.size(unknown) == 0, ["item_id is not in the catalogue:", unknown]
        )
        with tf.control_dependencies([check]):
            return tf.identity(rows)


def _cut(scores: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids and scores [B, k] cut to the longest list of the batch.

    A shorter one ends in "" with the lowest score.
    """
    valid = scores > OUT
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1))
    return tf.where(valid, ids, "")[:, :longest], scores[:, :longest]
