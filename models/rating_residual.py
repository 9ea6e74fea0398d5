"""What the rating heads beside the linear one add to it: a small network that starts at zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import tensorflow as tf
import tf_keras
from tf_keras import layers

from models.options import Head

_HIDDEN: Final = 32
_WIDTH: Final = 3  # of the convolution, in items

Network = Callable[[tf.Tensor], tf.Tensor]


class Residual(tf.Module):
    """`w · relu(W [summary(u), rep(i)] + c)` with w = 0 at the start.

    The kinds differ in how they sum a user up: "mlp" takes rep(u); "cnn" the maximum over time of
    a convolution over the latest items of the history and what they were rated (Kim 2014); "rnn"
    the last state of a GRU over the same (Cho et al. 2014; Hidasi et al. 2016, "GRU4Rec").
    """

    def __init__(self, head: Head, size: int) -> None:
        """Make the weights.

        Args:
            head: "mlp", "cnn" or "rnn".
            size: D of the embeddings.
        """
        super().__init__(name=f"{head}_rating")
        weights: list[tf.Variable] = []
        self._summarise: Network | None = None
        width = 2 * size + 1
        if head != "mlp":
            width = _HIDDEN
            self._summarise, weights = _convolution(size) if head == "cnn" else _recurrence(size)
        network = tf_keras.Sequential(
            [
                layers.Dense(_HIDDEN, activation="relu"),
                layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
            ]
        )
        network.build((None, width + size + 1))
        # Only the weights are tracked, for the reason that `models.encoders.encoder` gives.
        self._network: Network = lambda inputs: network(inputs)
        self._weights = [*weights, *network.weights]

    def __call__(self, *, user: tf.Tensor, item: tf.Tensor, sequence: tf.Tensor) -> tf.Tensor:
        """Apply.

        Args:
            user: rep(u), float32 [B, 2 D + 1].
            item: rep(i), float32 [B, D + 1].
            sequence: float32 [B, R, D + 3], the latest items; the last column is 1 for an item and
                0 for padding, which comes first and is 0 throughout.

        Returns:
            float32 [B], to be added to the linear head.
        """
        # One place more, because an empty history has neither a maximum nor a last state.
        sequence = tf.pad(sequence, [[0, 0], [1, 0], [0, 0]])
        summary = user if self._summarise is None else self._summarise(sequence)
        return self._network(tf.concat([summary, item], axis=1))[:, 0]


def make_residual(head: Head, size: int) -> Residual | None:
    """What a kind of head adds to the linear one: nothing, if it is that one."""
    return None if head == "linear" else Residual(head, size)


def _convolution(size: int) -> tuple[Network, list[tf.Variable]]:
    layer = layers.Conv1D(_HIDDEN, _WIDTH, padding="same", activation="relu")
    layer.build((None, None, size + 3))
    return lambda x: tf.reduce_max(layer(x) * x[:, :, -1:], axis=1), layer.weights


def _recurrence(size: int) -> tuple[Network, list[tf.Variable]]:
    # Of a `GRU` TensorFlow would save a second copy of the graph, for cuDNN.
    layer = layers.RNN(layers.GRUCell(_HIDDEN))
    layer.build((None, None, size + 3))
    return lambda x: layer(x, mask=x[:, :, -1] > 0), layer.weights
