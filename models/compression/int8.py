"""Weights of 8 bits: whole numbers from -127 to 127, and a scale for each row or column.

Post-training, symmetric, of the weights alone: activations stay as they are. The graph makes real
numbers of them again, with stock ops, each time a matrix is used; so it is smaller on disk, not
faster, and needs room for such a matrix when it runs. Of word vectors, half of a small BERT, only
those that a text has are made real.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from models.arrays import Floats
from models.compression.static import FloatTable, StaticEncoder
from models.encoders.encoder import SentenceEncoder, TextEncoder

_LARGEST: Final = 127
# Where BERT's layers keep their matrices.
_PARTS: Final = (
    ("attention.self_attention", ("query", "key", "value")),
    ("attention.dense_output", ("dense",)),
    ("intermediate", ("dense",)),
    ("bert_output", ("dense",)),
)


def rounded(matrix: Floats, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round a matrix [m, n] to whole numbers with one scale along `axis`.

    Returns:
        int8 [m, n], and float32 [1, n] or [m, 1]: their product is the matrix, to half a scale.
    """
    scale = np.abs(matrix).max(axis=axis, keepdims=True) / _LARGEST
    whole = np.rint(matrix / np.where(scale > 0.0, scale, 1.0))
    return whole.astype(np.int8), scale.astype(np.float32)


class Int8Table(tf.Module):
    """Word vectors: int8 [V, hidden] with a scale for each word piece."""

    def __init__(self, vectors: Floats) -> None:
        super().__init__(name="word_vectors")
        whole, scale = rounded(vectors, axis=1)
        self.whole = tf.Variable(whole, trainable=False, name="whole")
        self.scale = tf.Variable(scale, trainable=False, name="scale")

    def __call__(self, tokens: tf.Tensor) -> tf.Tensor:
        """Look up int32 [...]: float32 [..., hidden]."""
        whole = tf.gather(self.whole, tokens)
        return tf.cast(whole, tf.float32) * tf.gather(self.scale, tokens)


class Int8Dense(tf_keras.layers.Layer):
    """A dense layer: int8 [inputs, outputs] with a scale for each output."""

    def __init__(self, dense: tf_keras.layers.Dense) -> None:
        super().__init__(name=f"{dense.name}_int8")
        whole, scale = rounded(dense.kernel.numpy(), axis=0)
        self.whole = tf.Variable(whole, trainable=False, name="whole")
        self.scale = tf.Variable(scale[0], trainable=False, name="scale")
        self.bias = tf.Variable(dense.bias.numpy(), trainable=False, name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Apply to [..., inputs]."""
        kind = inputs.dtype
        # Scaled afterwards: there are fewer outputs than weights.
        product = tf.tensordot(inputs, tf.cast(self.whole, kind), 1)
        return product * tf.cast(self.scale, kind) + tf.cast(self.bias, kind)


def quantize(encoder: SentenceEncoder) -> None:
    """Give an encoder matrices of 8 bits, in place.

    It must not have read anything yet: what is traced keeps the weights that it was traced with.
    Position vectors, layer norms and biases stay: they are few. Nothing can be trained afterwards.

    Raises:
        TypeError: it is no encoder of this project.
    """
    if isinstance(encoder, StaticEncoder):
        assert isinstance(encoder.words, FloatTable)
        encoder.words = Int8Table(encoder.words.vectors.numpy())
    elif isinstance(encoder, TextEncoder):
        for layer in encoder.bert.bert.encoder.layer:
            for place, names in _PARTS:
                part = _at(layer, place)
                for name in names:
                    setattr(part, name, Int8Dense(getattr(part, name)))
        encoder.replace_words(Int8Table(encoder.bert.bert.embeddings.weight.numpy()))
    else:
        raise TypeError(f"{type(encoder).__name__} has no weights that could be rounded")


def _at(layer: Any, place: str) -> Any:
    for name in place.split("."):
        layer = getattr(layer, name)
    return layer
