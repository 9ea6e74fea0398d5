import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.special import erf

from models.encoders.adaptation import AdapterDense, LowRankDense
from models.encoders.encoder import TextEncoder
from models.errors import BadInput
from tests.models.encoders.test_encoder import (
    EMBEDDINGS,
    PER_LAYER,
    TEXTS,
    encoded_by_hand,
    saved_and_loaded,
    tokens_of,
)
from tests.tiny_bert import HIDDEN, LAYERS

SIZE = 3
# Weights that an adaptation adds to one layer, or to the whole encoder.
LORA = 2 * 2 * SIZE * HIDDEN
ADAPTER = 2 * (2 * SIZE * HIDDEN + SIZE + HIDDEN)
PREFIX = LAYERS * 2 * SIZE * HIDDEN
# Biases of six dense layers, one of them twice as wide, and two layer norms.
BITFIT = 7 * HIDDEN + 2 * 2 * HIDDEN


def adapted(bert, adaptation, layers=-1):
    return TextEncoder(
        bert, trainable_layers=layers, adaptation=adaptation, adaptation_size=SIZE
    )  # fmt: skip


def count(encoder):
    return sum(v.shape.num_elements() for v in encoder.trainable_variables)


@pytest.mark.parametrize(
    ("adaptation", "layers", "weights"),
    [
        ("lora", 1, LORA),
        ("lora", -1, LAYERS * LORA),
        ("adapter", 1, ADAPTER),
        ("adapter", LAYERS, LAYERS * ADAPTER),
        ("prefix", -1, PREFIX),
        ("prefix", LAYERS, PREFIX),
        ("bitfit", 1, BITFIT),
        ("bitfit", -1, LAYERS * BITFIT + 2 * HIDDEN),
        ("lora", 0, 0),
        ("prefix", 0, 0),
    ],
)
def test_an_adaptation_trains_its_own_few_weights_and_no_others(bert, adaptation, layers, weights):
    encoder = adapted(bert, adaptation, layers)
    assert count(encoder) == weights
    saved = {id(variable) for variable in encoder.variables}
    assert all(id(variable) in saved for variable in encoder.trainable_variables)
    added = 0 if adaptation == "bitfit" else len(encoder.trainable_variables)
    assert len(encoder.variables) == LAYERS * PER_LAYER + EMBEDDINGS + added


@pytest.mark.parametrize("adaptation", ["lora", "adapter", "bitfit"])
def test_an_adaptation_starts_without_effect(bert, adaptation):
    tokens = tf.constant(tokens_of(bert, TEXTS))
    plain = TextEncoder(bert)(tokens)
    np.testing.assert_allclose(adapted(bert, adaptation)(tokens), plain, atol=1e-6)


@pytest.mark.parametrize("adaptation", ["full", "lora", "adapter", "bitfit", "prefix"])
def test_every_trained_weight_reaches_the_vectors(bert, adaptation):
    encoder = adapted(bert, adaptation)
    random = np.random.default_rng(0)
    for variable in encoder.trainable_variables:
        variable.assign_add(random.normal(scale=0.1, size=variable.shape))
    tokens = tf.constant(tokens_of(bert, TEXTS))
    goal = tf.constant(random.normal(size=(len(TEXTS), HIDDEN)), tf.float32)
    with tf.GradientTape() as tape:
        nearness = tf.reduce_sum(encoder(tokens) * goal)
    gradients = tape.gradient(nearness, encoder.trainable_variables)
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        # A softmax does not see what is added to all keys alike.
        if "/key/bias" not in variable.name:
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-6, variable.name


def dense_layer(random):
    dense = tf_keras.layers.Dense(5)
    dense.build([None, 4])
    dense.set_weights([random.normal(size=(4, 5)), random.normal(size=5)])
    return dense


def randomised(layer, random):
    for variable in layer.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return {v.name.split(":")[0].split("/")[-1]: v.numpy() for v in layer.trainable_variables}


def test_low_rank_matrices_add_a_product_to_a_dense_layer():
    random = np.random.default_rng(3)
    layer = LowRankDense(dense_layer(random), 2)
    weight = randomised(layer, random)
    given = random.normal(size=(7, 4)).astype(np.float32)
    merged = weight["kernel"] + 2.0 * weight["down"] @ weight["up"]
    np.testing.assert_allclose(layer(given), given @ merged + weight["bias"], rtol=1e-4, atol=1e-4)


def test_an_adapter_is_a_bottleneck_with_a_skip_connection():
    random = np.random.default_rng(4)
    layer = AdapterDense(dense_layer(random), 2)
    weight = randomised(layer, random)
    given = random.normal(size=(7, 4)).astype(np.float32)
    states = given @ weight["kernel"] + weight["bias"]
    inner = states @ weight["down"] + weight["down_bias"]
    inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
    expected = states + inner @ weight["up"] + weight["up_bias"]
    np.testing.assert_allclose(layer(given), expected, rtol=1e-4, atol=1e-4)


def test_a_prefix_is_attended_to_before_the_text_in_every_layer(bert):
    encoder = adapted(bert, "prefix")
    prefix = np.random.default_rng(5).normal(size=(LAYERS, 2, 2, SIZE, HIDDEN // 2))
    encoder.trainable_variables[0].assign(prefix)
    tokens = tokens_of(bert, TEXTS)
    expected = encoded_by_hand(bert, tokens, 2, prefix)
    np.testing.assert_allclose(encoder(tf.constant(tokens)), expected, atol=2e-5)
    assert np.abs(expected - encoded_by_hand(bert, tokens, 2)).max() > 0.1


def test_a_prefix_treats_padding_as_the_plain_encoder_does(bert):
    encoder = adapted(bert, "prefix")
    together = encoder(tokens_of(bert, TEXTS)).numpy()
    for place, text in enumerate(TEXTS):
        alone = encoder(tokens_of(bert, [text], length=64)).numpy()[0]
        np.testing.assert_allclose(alone, together[place], atol=1e-5)


@pytest.mark.parametrize("layers", range(1, LAYERS))
def test_prefixes_in_some_layers_only_are_refused(bert, layers):
    with pytest.raises(BadInput, match=r"'prefix' puts prefixes in every layer. Give -1"):
        adapted(bert, "prefix", layers)


@pytest.mark.parametrize("adaptation", ["lora", "adapter", "prefix"])
def test_a_saved_encoder_answers_as_it_did(bert, adaptation, tmp_path):
    encoder = adapted(bert, adaptation)
    random = np.random.default_rng(0)
    for variable in encoder.trainable_variables:
        variable.assign_add(random.normal(scale=0.1, size=variable.shape))
    tokens = tf.constant(tokens_of(bert, TEXTS), tf.int32)
    loaded = saved_and_loaded(encoder, tmp_path)
    np.testing.assert_allclose(loaded(tokens), encoder(tokens), atol=1e-5)
    assert np.abs(encoder(tokens) - TextEncoder(bert)(tokens)).max() > 1e-3


def test_a_shift_is_added_to_the_word_vectors(bert):
    encoder = TextEncoder(bert)
    tokens = tf.constant(tokens_of(bert, TEXTS))
    none = tf.zeros([*tokens.shape, HIDDEN])
    np.testing.assert_allclose(encoder(tokens, shift=none), encoder(tokens), atol=1e-6)
    words = encoder.bert.bert.embeddings.weight.numpy()
    # Every word turned into "red" is a text of as many times "red".
    red = tokens_of(bert, ["red"])[0, 1]
    shift = words[red] - words[tokens.numpy()]
    changed = np.where(tokens == bert.pad_id, bert.pad_id, red)
    np.testing.assert_allclose(
        encoder(tokens, shift=tf.constant(shift)), encoder(tf.constant(changed)), atol=1e-5
    )
