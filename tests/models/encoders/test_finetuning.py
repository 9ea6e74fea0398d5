import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
import tf_keras

from models.encoders.encoder import TextEncoder
from models.encoders.finetuning import (
    PairModel,
    adversarial_shift,
    drop_tokens,
    finetune,
    has_pairs,
)
from models.options import FineTuningOptions
from models.record import FineTuned
from tests.tiny_bert import HIDDEN, LAYERS

OPTIONS = FineTuningOptions(
    steps=30,
    batch_pairs=8,
    accumulation=1,
    learning_rate=0.01,
    weight_decay=0.01,
    warmup_steps=2,
    temperature=0.1,
    popularity_exponent=0.5,
    token_dropout=0.0,
    adversarial_epsilon=0.0,
    ema_momentum=0.0,
    self_training_pairs=0,
)
TEXTS = [
    f"{color} {thing}"
    for thing in ("tea cup", "garden light", "alarm clock", "party bag")
    for color in ("red", "blue", "green", "black", "gold", "white")
]


@pytest.fixture(scope="module")
def histories():
    """Of 30 users who each buy things of one color, which words alone hardly tell apart."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(30):
        bought = np.zeros(len(TEXTS), np.float32)
        own = np.flatnonzero(np.arange(len(TEXTS)) % 6 == user % 6)
        bought[random.choice(own, 3, replace=False)] = 1.0
        rows.append(bought)
    return sp.csr_matrix(np.array(rows))


def lowest(bert, **options):
    """Of one layer, which learns as more of them do, in less time."""
    return TextEncoder(bert, layers=1, **options)


def tuned(bert, tokens, histories, *, adaptation="full", **changes):
    tf_keras.utils.set_random_seed(1)  # Keras draws initial values by it too
    encoder = lowest(bert, trainable_layers=1, adaptation=adaptation, adaptation_size=4)
    finetune(
        encoder, tokens, histories, options=OPTIONS.model_copy(update=changes), seed=2
    )  # fmt: skip
    return encoder


def same_color(encoder, tokens):
    """Mean cosine of things of one color less that of others."""
    vectors = encoder(tf.constant(tokens)).numpy()
    color = np.arange(len(tokens)) % 6
    alike = color[:, np.newaxis] == color
    cosine = vectors @ vectors.T
    return cosine[alike & ~np.eye(len(tokens), dtype=bool)].mean() - cosine[~alike].mean()


@pytest.mark.parametrize("trainable_layers", [1, LAYERS, -1])
def test_only_what_the_freezing_policy_allows_is_fine_tuned(bert, trainable_layers):
    encoder = TextEncoder(bert, trainable_layers=trainable_layers)
    found = [variable.name for variable in PairModel(encoder, 0.1).trainable_variables]
    assert found == [variable.name for variable in encoder.trainable_variables]
    assert all("layer_._0/" not in name for name in found) == (trainable_layers == 1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"adaptation": "lora", "learning_rate": 0.1},
        {"accumulation": 2, "adversarial_epsilon": 0.1, "token_dropout": 0.1, "ema_momentum": 0.5},
    ],
    ids=lambda changes: ", ".join(changes) or "plain",
)
def test_pairs_teach_the_encoder_what_is_bought_together(bert, tokens, histories, changes):
    before = same_color(lowest(bert), tokens)
    encoder = tuned(bert, tokens, histories, **changes)
    assert same_color(encoder, tokens) > before + 0.01
    trained = {id(variable) for variable in encoder.trainable_variables}
    plain = {variable.name: variable.numpy() for variable in lowest(bert).variables}
    for variable in encoder.variables:
        if id(variable) not in trained and variable.name in plain:
            np.testing.assert_array_equal(variable, plain[variable.name])


def test_no_steps_leave_the_encoder_as_it_was(bert, tokens, histories):
    encoder = tuned(bert, tokens, histories, steps=0)
    np.testing.assert_array_equal(encoder(tokens), lowest(bert)(tokens))


def test_the_kept_average_of_the_weights_lies_between_start_and_end(bert, tokens, histories):
    """Without dropout and with the same pairs, only the average differs."""
    start = lowest(bert, trainable_layers=1).trainable_variables
    last = tuned(bert, tokens, histories).trainable_variables
    averaged = tuned(bert, tokens, histories, ema_momentum=0.97).trainable_variables

    def distance(one, other):
        return sum(float(tf.norm(a - b)) for a, b in zip(one, other, strict=True))

    assert distance(averaged, start) < 0.8 * distance(last, start)
    assert distance(averaged, last) < distance(last, start)
    assert distance(averaged, start) > 0.05 * distance(last, start)


def test_an_adversarial_shift_has_its_length_and_points_uphill():
    gradient = {"query": tf.constant(np.random.default_rng(0).normal(size=(3, 4, 5)))}
    gradient["query"] = tf.concat([gradient["query"], tf.zeros([1, 4, 5], tf.float64)], axis=0)
    shift = adversarial_shift(gradient, 0.7)["query"].numpy()
    of_text = gradient["query"].numpy().reshape(4, -1)
    lengths = np.linalg.norm(of_text, axis=1, keepdims=True)
    expected = 0.7 * of_text / np.where(lengths == 0, 1, lengths)
    np.testing.assert_allclose(shift.reshape(4, -1), expected, atol=1e-9)


def test_the_adversarial_loss_is_added_to_the_plain_one(bert, tokens):
    """Its gradient, from the definition: plain, plus that under the worst shift."""
    encoder = TextEncoder(bert, trainable_layers=1)
    batch = {
        "query": tf.constant(tokens[:6]),
        "candidate": tf.constant(tokens[6:12]),
        "candidate_row": tf.range(6, 12, dtype=tf.int64),
        "probability": tf.fill([6], 0.1),
    }
    model = PairModel(encoder, 0.1, adversarial_epsilon=0.5)
    for layer in encoder.bert.submodules:  # two passes would drop out different things
        if isinstance(layer, tf_keras.layers.Dropout):
            layer.rate = 0.0
    shift = {side: tf.zeros([6, 12, HIDDEN]) for side in ("query", "candidate")}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(shift)
        loss = model.compute_loss(batch, shift=shift)
    uphill = tape.gradient(loss, shift)
    worst = {
        side: 0.5 * g / tf.norm(tf.reshape(g, [6, -1]), axis=1)[:, tf.newaxis, tf.newaxis]
        for side, g in uphill.items()
    }
    with tf.GradientTape() as other:
        harder = model.compute_loss(batch, shift=worst)
    assert float(harder) > float(loss)
    expected = [
        plain + hardened
        for plain, hardened in zip(
            tape.gradient(loss, encoder.trainable_variables),
            other.gradient(harder, encoder.trainable_variables),
            strict=True,
        )
    ]
    for found, wanted in zip(model._gradients(batch)[1], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_word_dropout_leaves_out_some_words_and_neither_ends_nor_order():
    tokens = np.tile(np.array([101, *range(1, 21), 102, 0, 0, 0], np.int32), (200, 1))
    found = drop_tokens(tokens, 0.25, pad_id=0, random=np.random.default_rng(0))
    assert found.shape == tokens.shape and found.dtype == np.int32
    kept = 0
    for row in found:
        text = row[row != 0]
        assert (row[len(text) :] == 0).all(), "padding only at the end"
        assert text[0] == 101 and text[-1] == 102
        assert (np.diff(text[1:-1]) > 0).all(), "in their order"
        kept += len(text) - 2
    assert kept / (200 * 20) == pytest.approx(0.75, abs=0.03)
    np.testing.assert_array_equal(
        drop_tokens(tokens, 0.0, pad_id=0, random=np.random.default_rng(0)), tokens
    )


def test_the_fine_tuned_encoder_is_kept_only_where_the_launch_gains():
    assert FineTuned(before=0.2, after=0.21, trainable=1).kept
    assert not FineTuned(before=0.2, after=0.2, trainable=1).kept
    assert not FineTuned(before=0.2, after=0.21, trainable=1, error=0.011).kept, "may be chance"


def test_histories_of_single_items_hold_no_pair_to_learn_from():
    alone = sp.csr_matrix(np.eye(3, 5, dtype=np.float32))
    assert not has_pairs(alone)
    assert has_pairs(sp.vstack([alone, np.ones((1, 5), np.float32)]).tocsr())
