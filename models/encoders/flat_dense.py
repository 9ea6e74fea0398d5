"""Dense layers as one matrix product.

tf_keras computes a dense layer of [B, L, D] by `tf.tensordot`, some thirty operations that only
work out shapes (https://github.com/keras-team/tf-keras, `core_ops.dense`). In a BERT they are half
the graph, and a model server optimises the graph of each signature whenever it loads a version.
"""

from __future__ import annotations

import functools

import tensorflow as tf
import tf_keras


def flatten_dense_layers(model: tf_keras.Model) -> None:
    """Let every dense layer of `model` see its inputs as rows; results stay the same."""
    for layer in model.submodules:
        if isinstance(layer, tf_keras.layers.Dense):
            layer.call = functools.partial(_call, layer)


def _call(layer: tf_keras.layers.Dense, inputs: tf.Tensor) -> tf.Tensor:
    """Apply to [..., inputs]."""
    kernel = layer.kernel
    width, units = kernel.shape
    outputs = tf.matmul(tf.reshape(inputs, [-1, width]), kernel)
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, layer.bias)
    if layer.activation is not None:
        outputs = layer.activation(outputs)
    return tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [units]], axis=0))
