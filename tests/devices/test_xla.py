"""What TPUs want of a training step, as far as a machine without one can tell."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from models.compression.layers import Student
from models.encoders.encoder import TextEncoder
from models.encoders.finetuning import PairModel
from models.encoders.pretraining import MaskedWords
from tests.devices.fit_encoder import Shop

pytestmark = pytest.mark.devices


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Shop(tmp_path_factory.mktemp("shop") / "bert", accumulation=1, epsilon=0.0)


def pairs(encoder, tokens):
    texts, rows = tf.constant(tokens[:, np.newaxis]), tf.range(len(tokens), dtype=tf.int64)
    return PairModel(encoder, 0.1, adversarial_epsilon=0.1), {
        "query": texts,
        "candidate": tf.reverse(texts, axis=[0]),
        "candidate_row": rows[:, tf.newaxis],
        "probability": tf.fill([len(tokens), 1], 0.1),
    }


def words(encoder, tokens):
    return MaskedWords(encoder), (tokens, np.where(tokens % 3 == 1, tokens, -1))


def lessons(encoder, tokens):
    vectors = np.eye(len(tokens), encoder.hidden_size, dtype=np.float32)
    return Student(encoder), (tokens, vectors)


@pytest.mark.parametrize("made", [pairs, words, lessons])
def test_a_step_compiled_by_xla_has_the_loss_of_a_plain_one(shop, made):
    found = []
    for compiled in (False, True):
        tf_keras.utils.set_random_seed(1)
        model, batch = made(TextEncoder(shop.folder, trainable_layers=-1), shop.tokens[:8])
        model.compile(tf_keras.optimizers.AdamW(1e-3, clipnorm=1.0))
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, jit_compile=compiled)
        found.append([float(step(batch)["loss"]) for _ in range(2)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
