"""Why a user gets an item: what each item of the history and each word adds to the score.

The history adds up exactly. An item's inherited score is a sum over the history's items, and the
score is the logarithm of a sum of that and a constant. Integrated gradients (Sundararajan et al.
2017, arXiv:1703.01365) of such a function, from an item that inherits nothing, are known in closed
form: each summand gets its share of what the logarithm gains.

The words of an item without interactions do not add up. They get integrated gradients over the
vectors that the item tower reads, from a product without text; each vector is itself a sum over the
states of tokens and over terms.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf
from scipy.special import roots_legendre

from models.columns import take
from models.encoders import lexical
from models.encoders.encoder import SentenceEncoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.export.adapter import positive_attention
from models.export.audience import NEIGHBOURS, likeness
from models.export.lists import repeated
from models.export.query import Query
from models.export.scoring import Known, Scorer
from models.inheritance.inherited import Inherited
from models.interactions import PAD
from models.ragged import joined
from models.shelf.shelf import Shelf
from models.towers import FLOOR, item_features, relative
from models.two_tower import TwoTower

# Points of the Gauss-Legendre rule on the way from no text to the text.
STEPS: Final = 16
_NODES, _WEIGHTS = roots_legendre(STEPS)
_SEPARATOR: Final = "."


class Reading(NamedTuple):
    """How the model reads the names of B items.

    Attributes:
        word: string [B, W], as they are read; "" pads, and stands for what separates fields.
        units: int64 [B, N], what the lexical path reads, PAD at the end.
        pair: int64 [B, N], ids of the terms of units and their right neighbours, PAD likewise.
        word_of_unit: int64 [B, N], place of the word that a unit is of, PAD likewise.
        word_of_piece: int64 [B, P], the same of the encoder's word pieces.
        states: float32 [B, L, hidden], of the tokens [CLS], the first pieces and [SEP]; zeros pad.
        term: int64 [B, T], ids of `models.encoders.lexical.terms`, PAD at the end.
        term_weight: float32 [B, T].
        price_bucket: int64 [B].
    """

    word: tf.Tensor
    units: tf.Tensor
    pair: tf.Tensor
    word_of_unit: tf.Tensor
    word_of_piece: tf.Tensor
    states: tf.Tensor
    term: tf.Tensor
    term_weight: tf.Tensor
    price_bucket: tf.Tensor


class WordReader(tf.Module):
    """Reads what Transform makes of names, so that each number can be traced to a word."""

    def __init__(self, *, tokenizer: WordPieceTokenizer, encoder: SentenceEncoder) -> None:
        super().__init__(name="word_reader")
        self._tokenizer = tokenizer
        self._encoder = encoder

    def __call__(
        self, text: tf.Tensor, tokens: tf.Tensor, terms: tuple[tf.RaggedTensor, tf.RaggedTensor],
        price_bucket: tf.Tensor,
    ) -> Reading:  # fmt: skip
        """Read texts string [B]; the other arguments are what Transform makes of them."""
        words, pieces = self._tokenizer.words(text)
        units = self._tokenizer.units(words, pieces)
        flat = joined(units)
        states, mask = self._encoder.infer_states(tf.cast(tokens, tf.int32))
        word, dense = words.to_tensor(""), flat.to_tensor(PAD)
        pair = lexical.pairs(flat, self.vocabulary_size).to_tensor(PAD)
        missing = tf.shape(dense)[1] - tf.shape(pair)[1]
        return Reading(
            word=tf.where(word == _SEPARATOR, "", word),
            units=dense,
            pair=tf.pad(pair, [[0, 0], [0, missing]], constant_values=PAD),
            word_of_unit=_word_of(units),
            word_of_piece=_word_of(pieces),
            states=tf.cast(states, tf.float32) * tf.cast(mask, tf.float32)[:, :, tf.newaxis],
            term=terms[0].to_tensor(PAD),
            term_weight=terms[1].to_tensor(0.0),
            price_bucket=price_bucket,
        )

    @property
    def vocabulary_size(self) -> int:
        """How many word pieces there are."""
        return self._tokenizer.vocabulary_size


def _word_of(parts: tf.RaggedTensor) -> tf.Tensor:
    """Place of each part's word: ragged [B, (words), (parts)] to int64 [B, N], PAD at the end."""
    place = tf.ragged.range(parts.row_lengths()).values
    repeated_place = tf.repeat(place, parts.values.row_lengths())
    return joined(parts).with_values(repeated_place).to_tensor(PAD)


class Explainer(tf.Module):
    """Splits scores into what history and words add."""

    def __init__(
        self, *, shelf: Shelf, scorer: Scorer, model: TwoTower, vocabulary_size: int
    ) -> None:  # fmt: skip
        """Take the parts; `vocabulary_size` is how many word pieces there are."""
        super().__init__(name="explainer")
        self._shelf = shelf
        self._scorer = scorer
        self._model = model
        self._terms = vocabulary_size + lexical.BIGRAM_BUCKETS

    def __call__(self, query: Query, rows: tf.Tensor, reading: Reading) -> dict[str, tf.Tensor]:
        """Explain the score of one item for each of B users.

        Args:
            query: of the users.
            rows: int64 [B], of the items.
            reading: of their names.

        Returns:
            `score` float32 [B], the sum of `base`, of an item that nothing speaks for, of
            `evidence`, what the item's first interactions say to this user, and of
            `history_score` [B, H]. The latter, or what the profile adds for somebody whose history
            tells nothing, is also the sum of `word_score` [B, W] and of `rest`.
            `history_item` int64 [B, H], rows, PAD for none, and `word` string [B, W].
        """
        served: Inherited = self._shelf.served
        known = self._scorer.known(query, rows)
        is_told = known.scores.is_told[:, 0]
        inherited = served.lent_at(known.scores.anchors, rows[:, tf.newaxis])[:, 0]
        gained = tf.math.log1p(relative(inherited, known.reference) / FLOOR)
        share = tf.math.divide_no_nan(gained, tf.nn.relu(inherited))
        history_score = share[:, tf.newaxis] * self._lent_by(query.history, rows)
        affinity = tf.reduce_sum(query.profile * self._shelf.embeddings(rows), axis=1)
        spoken = tf.where(is_told, gained, affinity)
        base = tf.where(
            is_told,
            tf.math.log(FLOOR) + take(served.demand, rows),
            take(served.fallback, rows),
        )
        base = self._scorer.with_learned(base, lambda learned: tf.gather(learned, rows))
        is_read = tf.cast(~is_told | (served.anchors(rows) == PAD), tf.float32)
        word_score = self._words(query, known, is_told, reading) * is_read[:, tf.newaxis]
        return {
            "score": base + known.evidence + spoken,
            "base": base,
            "evidence": known.evidence,
            "history_item": query.history,
            "history_score": history_score,
            "word": reading.word,
            "word_score": word_score,
            "rest": spoken - tf.reduce_sum(word_score, axis=1),
        }

    def _lent_by(self, history: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """What each item of histories int64 [B, H] adds to inherited scores: float32 [B, H]."""
        served = self._shelf.served
        added = served.scores_of(*served.lists(rows))
        anchor, weight = served.lists(tf.maximum(history, 0))
        share = positive_attention(weight)
        lent = tf.reduce_sum(tf.gather(added, anchor, batch_dims=1) * share, axis=2)
        return tf.where((history != PAD) & ~repeated(history), lent, 0.0)

    def _words(self, query: Query, known: Known, is_told: tf.Tensor, reading: Reading) -> tf.Tensor:
        """Integrated gradients of the words, from a product without text: float32 [B, W]."""
        total = tf.reduce_sum(reading.states, axis=1)
        length = tf.norm(total, axis=1, keepdims=True)
        sketched = self._sketched(reading)
        width = tf.norm(sketched, axis=1, keepdims=True)
        text = tf.math.divide_no_nan(total, length)
        terms = tf.math.divide_no_nan(sketched, width)
        of_text, of_terms = self._integrated(query, known, is_told, text, terms, reading)
        tokens = tf.linalg.matvec(reading.states, tf.math.divide_no_nan(of_text, length))
        columns = lexical.places(reading.term, sketched.shape[1])
        gradient = tf.math.divide_no_nan(of_terms, width)
        weighted = reading.term_weight * tf.add_n(
            [sign * tf.gather(gradient, column, batch_dims=1) for column, sign in columns]
        )
        return self._of_words(reading, tokens, weighted)

    def _sketched(self, reading: Reading) -> tf.Tensor:
        """`models.encoders.lexical.sketch` before it is scaled: float32 [B, lexical_size]."""
        size = self._model.items.lexical_size(reading.states.shape[2])
        items = tf.shape(reading.term)[0]
        row = tf.range(items)[:, tf.newaxis] * size
        total = tf.zeros([items * size])
        for column, sign in lexical.places(reading.term, size):
            total += tf.math.unsorted_segment_sum(
                sign * reading.term_weight, row + tf.cast(column, tf.int32), items * size
            )
        return tf.reshape(total, [items, size])

    def _integrated(
        self, query: Query, known: Known, is_told: tf.Tensor, text: tf.Tensor,
        terms: tf.Tensor, reading: Reading,
    ) -> tuple[tf.Tensor, tf.Tensor]:  # fmt: skip
        """Mean gradients on the way from zeros to a text [B, hidden] and terms [B, size]."""
        anchors = self._shelf.served.floats("anchor_embedding")
        items, steps = tf.shape(text)[0], tf.constant((_NODES + 1) / 2, tf.float32)
        own = self._model.items(item_features(text, terms), reading.price_bucket)
        cosine = tf.matmul(own, anchors, transpose_b=True)
        top = tf.math.top_k(cosine, tf.minimum(NEIGHBOURS, tf.shape(anchors)[0]))
        nearest = top.indices
        # Less text is less like the neighbours, and so inherits less: their weights don't sum to 1.
        whole = tf.reduce_sum(likeness(top.values), axis=1, keepdims=True)
        neighbour, lent = (
            tf.gather(anchors, nearest),
            tf.gather(known.scores.anchors, nearest, batch_dims=1),
        )

        def value(text: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
            features = item_features(text, terms)
            bucket = tf.tile(reading.price_bucket, [STEPS])
            embedding = self._model.items(features, bucket)
            embedding = tf.reshape(embedding, [STEPS, items, neighbour.shape[2]])
            alike = likeness(tf.einsum("sbd,bnd->sbn", embedding, neighbour))
            weight = tf.math.divide_no_nan(alike, whole)
            inherited = tf.reduce_sum(weight * lent, axis=2)
            logits = tf.math.log(relative(inherited, known.reference) + FLOOR)
            affinity = tf.reduce_sum(embedding * query.profile, axis=2)
            return tf.where(is_told, logits, affinity)

        def along(whole: tf.Tensor) -> tf.Tensor:
            return tf.reshape(steps[:, tf.newaxis, tf.newaxis] * whole, [-1, whole.shape[1]])

        on_way = along(text), along(terms)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(on_way)
            values = value(*on_way)
        weights = tf.constant(_WEIGHTS / 2, tf.float32)

        def mean(gradient: tf.Tensor) -> tf.Tensor:
            by_step = tf.reshape(gradient, [STEPS, items, gradient.shape[1]])
            return tf.tensordot(weights, by_step, 1)

        of_text, of_terms = tape.gradient(values, on_way)
        return mean(of_text), mean(of_terms)

    def _of_words(self, reading: Reading, tokens: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
        """What tokens float32 [B, L] and terms float32 [B, T] say, by word: float32 [B, W].

        A term stands for all places where it occurs, in equal parts; a pair for both its units.
        """
        count = tf.shape(reading.word)[1]
        # The first token is [CLS], and the last one [SEP].
        length = tf.shape(tokens)[1]
        place = tf.pad(
            reading.word_of_piece[:, : length - 2],
            [[0, 0], [1, length - 1]],
            constant_values=PAD,
        )[:, :length]
        by_word = tf.einsum("bl,blw->bw", tokens, tf.one_hot(place, count))
        term = tf.math.floormod(reading.term, self._terms)[:, :, tf.newaxis]
        single = tf.cast(term == reading.units[:, tf.newaxis, :], tf.float32)
        pair = tf.cast(term == reading.pair[:, tf.newaxis, :], tf.float32)
        occurs = tf.reduce_sum(single + pair, axis=2)
        each = tf.math.divide_no_nan(terms, occurs)
        of_pair = tf.einsum("bt,btn->bn", each, pair) / 2.0
        at_unit = tf.einsum("bt,btn->bn", each, single) + of_pair
        at_unit += tf.pad(of_pair[:, :-1], [[0, 0], [1, 0]])
        by_word += tf.einsum("bn,bnw->bw", at_unit, tf.one_hot(reading.word_of_unit, count))
        return tf.where(reading.word == "", 0.0, by_word)
