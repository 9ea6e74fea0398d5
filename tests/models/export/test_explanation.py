"""Explanations: exact shares of the history, and words whose gradients add up."""

import numpy as np
import pytest
import tensorflow as tf

from models.encoders import lexical
from models.products import describe
from models.shelf.intake import assign, take_in
from tests.models.conftest import known_history
from tests.models.export.test_adapter import USERS, interactions
from tests.models.shelf.test_newcomers import product
from tests.models.shop import NUM_USERS, item_id, user_id

NEW, SEEN, HELD_OUT = 59, 3, 18
UNKNOWN = b"nobody"


def ask(model, pairs, histories=None, profiles=None, signature="explain"):
    histories = histories or [[]] * len(pairs)
    width = max(map(len, histories))
    padded = [[*h, *[b""] * (width - len(h))] for h in histories]
    answer = model.signatures[signature](
        user_id=tf.constant([user for user, _ in pairs]),
        history=tf.constant(padded, tf.string, [len(pairs), width]),
        profile=tf.constant(profiles or [b""] * len(pairs)),
        item_id=tf.constant([item for _, item in pairs]),
    )
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def every_user(served):
    """Explanations of a new, a seen and a held-out item for every known user."""
    pairs = [
        (user_id(user), item_id(item))
        for user in range(NUM_USERS)
        for item in (NEW, SEEN, HELD_OUT)
    ]
    return pairs, ask(served.loaded, pairs), ask(served.loaded, pairs, signature="score")["score"]


def test_both_sides_of_an_explanation_sum_up_to_the_score(every_user):
    _, found, score = every_user
    common = found["base"] + found["evidence"]
    by_history = common + found["history_score"].sum(axis=1)
    by_words = common + found["word_score"].sum(axis=1) + found["rest"]
    np.testing.assert_allclose(found["score"], score, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_history, score, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(by_words, score, rtol=1e-3, atol=1e-3)


def test_each_item_of_a_history_has_its_share_of_what_the_logarithm_gains(
    every_user, served, oracle, row_of
):
    pairs, found, _ = every_user
    some = 0
    for place, (user, item) in enumerate(pairs):
        history, row = known_history(served, int(user[-3:])), row_of[item]
        anchors = [int(np.flatnonzero(oracle.anchors == h)[0]) for h in history]
        added = oracle.teacher[anchors] @ oracle.weights[row]
        gained = max(oracle.logits(history)[row] - np.log(0.1), 0.0)
        share = added / added.sum() if added.sum() > 0 else np.zeros(len(added))
        ids = found["history_item"][place]
        assert ids[: len(history)].tolist() == served.table.ids[history].tolist()
        assert not ids[len(history) :].any()
        scores = found["history_score"][place, : len(history)]
        np.testing.assert_allclose(scores, share * gained, rtol=5e-3, atol=5e-3)
        some += gained > 0.1
    assert some > NUM_USERS


def test_a_given_history_is_explained_and_what_stands_in_it_twice_counts_once(served):
    history = [item_id(8), item_id(3), b"gone", item_id(8)]
    found = ask(served.loaded, [(UNKNOWN, item_id(NEW))], [history])
    assert found["history_item"][0].tolist() == [item_id(8), item_id(3), b"", item_id(8)]
    assert (found["history_score"][0, 2:] == 0).all()


def test_the_words_of_a_seen_item_add_nothing(every_user):
    pairs, found, _ = every_user
    seen = [place for place, (_, item) in enumerate(pairs) if item != item_id(NEW)]
    assert (found["word_score"][seen] == 0).all()
    assert (found["word_score"][np.setdiff1d(np.arange(len(pairs)), seen)] != 0).any(axis=1).all()


def test_words_are_those_of_title_category_and_brand_without_what_separates_them(served, shop):
    for number in (59, 51):
        found = ask(served.loaded, [(user_id(5), item_id(number))])
        raw = shop.items[number]
        text = b" ".join(raw[name][0] for name in ("title", "category", "brand"))
        assert [word for word in found["word"][0] if word] == text.split()


class Reader:
    """How the model reads the name of an item, recomputed word by word."""

    def __init__(self, served, shop, number):
        # Without price, description and brand code, as an explanation reads it.
        raw = product(shop, number)
        name = " . ".join(filter(None, (raw.title, raw.category, raw.brand)))
        alone = raw._replace(title=name, category="", brand="", description="", price=None)
        self.described = describe(served.loaded, [alone])
        tokenizer = served.module._read_words._tokenizer
        words, pieces = tokenizer.words(tf.constant([f"{name} ."]))
        self.words = words[0].numpy().tolist()
        self.of_piece = [w for w, own in enumerate(pieces[0]) for _ in range(len(own))]
        self.pieces = [int(p) for own in pieces[0] for p in own.numpy()]
        tokens = tokenizer.encoder_input(pieces.merge_dims(-2, -1), 24)
        states, mask = served.encoder.states(tokens)
        states = states.numpy()[0] * mask.numpy()[0][:, np.newaxis]
        self.states = states / np.linalg.norm(states.sum(axis=0))
        self.size = served.features.shape[1] - states.shape[1]
        self.vocabulary = tokenizer.vocabulary_size

    def term_vectors(self):
        """By word: its part of the sketch, whose length is 1."""
        terms = self.described.terms.tocoo()
        width = self.vocabulary + lexical.BIGRAM_BUCKETS
        by_word = np.zeros((len(self.words), self.size))
        singles: dict[int, list[list[int]]] = {}
        for piece, word in zip(self.pieces, self.of_piece, strict=True):
            singles.setdefault(piece, []).append([word])
        for at in range(len(self.pieces) - 1):
            pair = lexical.terms(tf.ragged.constant([self.pieces[at : at + 2]]), self.vocabulary)
            singles.setdefault(int(pair[0, 2]), []).append(self.of_piece[at : at + 2])
        for term, weight in zip(terms.col, terms.data, strict=True):
            ids = tf.RaggedTensor.from_row_lengths(tf.constant([term], tf.int64), [1])
            vector = np.zeros(self.size)
            for column, sign in lexical.places(ids.values, self.size):
                vector[int(column[0])] += float(sign[0]) * weight
            owners = singles[int(term) % width]
            for words in owners:
                for word in words:
                    by_word[word] += vector / len(owners) / len(words)
        return by_word / np.linalg.norm(by_word.sum(axis=0))

    def token_vectors(self):
        """By word: its part of the text's vector, whose length is 1."""
        by_word = np.zeros((len(self.words), self.states.shape[1]))
        for at, word in enumerate(self.of_piece):
            by_word[word] += self.states[at + 1]
        return by_word


def value(oracle, history, vectors, near, whole):
    """The model's own reading of a text: vectors of the encoder beside the sketch, [n, F]."""
    anchors = [int(np.flatnonzero(oracle.anchors == h)[0]) for h in history]
    scores = oracle.teacher[anchors].sum(axis=0)
    embedding = oracle.tower(vectors, np.zeros(len(vectors), int))
    cosine = np.maximum(embedding @ oracle.embedding[oracle.anchors[near]].T, 0.0) ** 4
    inherited = cosine @ scores[near] / whole
    return np.log(np.maximum(inherited, 0.0) / (oracle.relative_to(scores) + 1e-4) + 0.1)


@pytest.mark.parametrize("number", [59, 9, 29])
def test_words_have_integrated_gradients_that_sum_up_to_what_the_text_changes(
    served, shop, oracle, number
):
    """By finite differences on a fine path, in double precision."""
    user = number // 10
    read, history = Reader(served, shop, number), known_history(served, user)
    tokens, terms = read.token_vectors(), read.term_vectors()
    rest = np.concatenate([read.states.sum(axis=0), np.zeros(read.size)])
    words = np.sqrt(0.5) * np.concatenate([tokens, terms], axis=1)
    special = np.sqrt(0.5) * rest - np.pad(words[:, : tokens.shape[1]].sum(axis=0), (0, read.size))
    parts = np.concatenate([words, special[np.newaxis]])
    whole = parts.sum(axis=0)
    cosine = oracle.embedding[oracle.anchors] @ oracle.tower(whole, 0)
    near = np.argsort(-cosine)[:64]
    alike = (np.maximum(cosine[near], 0.0) ** 4).sum()
    steps = (np.arange(400) + 0.5) / 400
    gradients = []
    for part in parts:
        ahead, behind = (
            value(oracle, history, steps[:, np.newaxis] * whole + shift * part, near, alike)
            for shift in (1e-5, -1e-5)
        )
        gradients.append(((ahead - behind) / 2e-5).mean())
    ends = value(oracle, history, np.array([[0.0], [1.0]]) * whole, near, alike)
    change = ends[1] - ends[0]
    assert np.sum(gradients) == pytest.approx(change, abs=0.01 * max(abs(change), 0.1))
    found = ask(served.loaded, [(user_id(user), item_id(number))])
    expected = [0.0 if w == b"." else g for w, g in zip(read.words, gradients, strict=False)]
    size = max(np.abs(gradients).sum(), 0.1)
    np.testing.assert_allclose(found["word_score"][0], expected, atol=0.01 * size)


def test_without_a_history_the_profile_s_words_are_explained(served, shop, oracle, row_of):
    pair, profile = (UNKNOWN, item_id(NEW)), shop.profiles[0]
    found = ask(served.loaded, [pair], profiles=[profile])
    score = ask(served.loaded, [pair], profiles=[profile], signature="score")["score"]
    np.testing.assert_allclose(found["score"], score, rtol=1e-4)
    np.testing.assert_allclose(found["base"], oracle.fallback[row_of[item_id(NEW)]], rtol=1e-5)
    assert found["history_score"].sum() == 0 and np.abs(found["word_score"]).sum() > 0
    nobody = ask(served.loaded, [pair])
    assert np.abs(nobody["word_score"]).sum() == 0 and nobody["rest"] == 0


def test_what_first_interactions_say_stands_apart(served, model, row_of):
    heard = interactions(served, {row_of[item_id(NEW)]: [(5, 100, 1.0), (11, 160, 1.0)]})
    assign(model, take_in(model, USERS, heard).columns)
    pairs = [(user_id(user), item_id(NEW)) for user in range(8)]
    found, score = ask(model, pairs), ask(model, pairs, signature="score")["score"]
    assert (found["evidence"] != 0).any()
    by_history = found["base"] + found["evidence"] + found["history_score"].sum(axis=1)
    np.testing.assert_allclose(by_history, score, rtol=1e-3, atol=1e-3)


def test_a_batch_is_explained_as_each_pair_alone(served, every_user):
    pairs, together, _ = every_user
    for place in (0, 5):
        alone = ask(served.loaded, pairs[place : place + 1])
        for name in ("history_score", "word_score"):
            width = alone[name].shape[1]
            np.testing.assert_allclose(
                alone[name][0], together[name][place, :width], rtol=1e-3, atol=1e-4
            )


def test_an_unknown_item_is_an_invalid_argument_that_names_it(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="no-such-item"):
        ask(served.loaded, [(UNKNOWN, b"no-such-item")])
