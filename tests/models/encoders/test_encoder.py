import json

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from scipy.special import erf, softmax
from transformers import BertTokenizerFast

from models.encoders.encoder import TextEncoder
from models.encoders.folder import PACKAGED, open_encoder
from models.errors import BadInput
from tests.tiny_bert import HIDDEN, LAYERS, write_tiny_bert, write_tiny_bert_h5

TEXTS = ["red tea cup", "", "vintage garden light, set of 3 " * 3, "红茶杯 🎁"]
# Variables of one BERT layer, and of the embeddings.
PER_LAYER, EMBEDDINGS = 16, 5


def tokens_of(folder, texts, length=32):
    tokenizer = BertTokenizerFast(
        vocab_file=str(folder.vocabulary_file), do_lower_case=folder.lower_case
    )
    made = tokenizer(texts, padding="max_length", truncation=True, max_length=length)
    return np.array(made["input_ids"])


def saved_and_loaded(encoder, folder):
    """Tokens int32 [B, T] to embeddings, by a SavedModel of the encoder in a folder."""
    served = tf.function(lambda tokens: {"text": encoder.infer(tokens)}, autograph=False)
    signature = served.get_concrete_function(tf.TensorSpec([None, None], tf.int32, "tokens"))
    tf.saved_model.save(encoder, str(folder), signatures=signature)
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return lambda tokens: loaded(tokens=tokens)["text"]


def bert_by_hand(weights, ids, heads, prefix=None):
    """The last hidden states [T, hidden] of one text without padding (Devlin et al. 2018).

    `prefix` holds keys and values of each layer, [layers, 2, heads, length, width of a head].
    """

    def norm(x, name):
        centered = x - x.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = norm(
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    layer = 0
    while (name := f"encoder.layer.{layer}") + ".output.dense.weight" in weights:
        query, key, value = (
            dense(x, f"{name}.attention.self.{part}")
            .reshape(len(ids), heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        if prefix is not None:
            key = np.concatenate([prefix[layer, 0], key], axis=1)
            value = np.concatenate([prefix[layer, 1], value], axis=1)
        attention = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]), axis=-1)
        mixed = (attention @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(
            x + dense(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        x = norm(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        layer += 1
    return x


def encoded_by_hand(folder, tokens, heads, prefix=None):
    weights = {name: array.astype(float) for name, array in load_file(folder.weights_file).items()}
    pooled = [
        bert_by_hand(weights, row[row != folder.pad_id], heads, prefix).mean(axis=0)
        for row in tokens
    ]
    return np.array([vector / np.linalg.norm(vector) for vector in pooled])


@pytest.mark.parametrize(("name", "heads"), [("tiny", 2), (PACKAGED, 12)])
def test_a_text_is_the_mean_of_berts_last_states_at_unit_length(bert, name, heads):
    folder = bert if name == "tiny" else open_encoder(name)
    tokens = tokens_of(folder, TEXTS)
    found = TextEncoder(folder)(tf.constant(tokens)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, encoded_by_hand(folder, tokens, heads), atol=2e-5)


def test_a_text_does_not_depend_on_its_batch_nor_on_its_padding(bert):
    encoder = TextEncoder(bert)
    together = encoder(tokens_of(bert, TEXTS)).numpy()
    for place, text in enumerate(TEXTS):
        alone = encoder(tokens_of(bert, [text], length=64)).numpy()[0]
        np.testing.assert_allclose(alone, together[place], atol=1e-5)


def test_a_traced_encoder_answers_as_the_eager_one(bert):
    encoder = TextEncoder(bert)
    tokens = tf.constant(tokens_of(bert, TEXTS), tf.int32)
    np.testing.assert_allclose(encoder.infer(tokens), encoder(tokens), atol=1e-5)


def test_h5_weights_encode_as_safetensors_do(tmp_path, bert):
    other = open_encoder(str(write_tiny_bert_h5(tmp_path / "h5")))
    tokens = tf.constant(tokens_of(bert, TEXTS))
    np.testing.assert_allclose(TextEncoder(other)(tokens), TextEncoder(bert)(tokens), atol=1e-6)


@pytest.mark.parametrize(
    ("trainable_layers", "variables"),
    [(0, 0), (1, PER_LAYER), (LAYERS, LAYERS * PER_LAYER), (-1, LAYERS * PER_LAYER + EMBEDDINGS)],
)
def test_the_freezing_policy_decides_what_is_trainable(bert, trainable_layers, variables):
    encoder = TextEncoder(bert, trainable_layers=trainable_layers)
    assert len(encoder.trainable_variables) == variables
    assert len(encoder.variables) == LAYERS * PER_LAYER + EMBEDDINGS
    kept = {id(variable) for variable in encoder.variables}
    assert all(id(variable) in kept for variable in encoder.trainable_variables)


def test_the_layers_that_are_trained_are_the_top_ones(bert):
    names = [v.name for v in TextEncoder(bert, trainable_layers=1).trainable_variables]
    assert all("layer_._1/" in name for name in names)


@pytest.mark.parametrize("trainable_layers", [-2, LAYERS + 1])
def test_more_layers_than_there_are_is_bad_input(bert, trainable_layers):
    with pytest.raises(
        BadInput, match=rf"trainable_layers is {trainable_layers}.* {LAYERS} layers"
    ):
        TextEncoder(bert, trainable_layers=trainable_layers)
    with pytest.raises(BadInput, match=rf"compression.layers is {LAYERS + 1}.* {LAYERS} layers"):
        TextEncoder(bert, layers=LAYERS + 1)


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    path = write_tiny_bert(tmp_path / "tiny")
    weights = load_file(path / "model.safetensors")
    kept = {name: array for name, array in weights.items() if "layer.1.output" not in name}
    save_file(kept, path / "model.safetensors")
    with pytest.raises(BadInput, match=r"model\.safetensors lacks 4 weights"):
        TextEncoder(open_encoder(str(path)))


@pytest.mark.parametrize("write", [write_tiny_bert, write_tiny_bert_h5])
def test_weights_of_another_shape_are_refused(tmp_path, write):
    path = write(tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(BadInput, match=r"does not fit its own config\.json"):
        TextEncoder(open_encoder(str(path)))


def test_h5_weights_that_lack_a_layer_are_refused(tmp_path):
    path = write_tiny_bert_h5(tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS + 1}))
    with pytest.raises(BadInput, match=rf"tf_model\.h5 lacks {PER_LAYER} weights"):
        TextEncoder(open_encoder(str(path)))


def test_texts_that_share_words_are_near_each_other(bert):
    near = TextEncoder(bert)(
        tokens_of(bert, ["vintage red tea cup", "red tea cup", "garden light for the wall"])
    ).numpy()
    assert near.shape == (3, HIDDEN)
    assert near[0] @ near[1] > near[0] @ near[2]
