"""What of a BERT is fine-tuned: whole layers, or few weights in or beside layers that stay.

Weights that are added start without effect, so that fine-tuning starts at the pre-trained encoder;
only prefixes take some attention from the start. They stay weights of their own and are saved.
"""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf
import tf_keras
from transformers import TFBertModel

from models.encoders.depth import check_trained
from models.options import Adaptation

_LORA_SCALE: Final = 2.0  # α/r of Hu et al., which they don't tune
_PREFIX_SPREAD: Final = 0.02  # as BERT's own embeddings start
_BITFIT: Final = ("/bias:", "/beta:", "/gamma:")


class LowRankDense(tf_keras.layers.Layer):
    """A frozen dense layer and a trained product of two thin matrices beside it.

    W x + (α/r) B A x with B = 0 at the start (Hu et al. 2021, "LoRA", equation 3).
    """

    def __init__(self, dense: tf_keras.layers.Dense, rank: int) -> None:
        super().__init__(name=f"{dense.name}_lora")
        self._dense = dense
        self._scale = _LORA_SCALE
        inputs, outputs = dense.kernel.shape
        self.down = self.add_weight("down", [inputs, rank], initializer="he_uniform")
        self.up = self.add_weight("up", [rank, outputs], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Apply to [..., inputs]."""
        return self._dense(inputs) + self._scale * (inputs @ self.down) @ self.up


class AdapterDense(tf_keras.layers.Layer):
    """A frozen dense layer followed by a trained bottleneck with a skip connection.

    Houlsby et al. 2019, "Parameter-efficient transfer learning for NLP", figure 2; their layer
    norms are not trained here.
    """

    def __init__(self, dense: tf_keras.layers.Dense, width: int) -> None:
        super().__init__(name=f"{dense.name}_adapter")
        self._dense = dense
        outputs = dense.kernel.shape[1]
        self.down = self.add_weight("down", [outputs, width], initializer="he_uniform")
        self.down_bias = self.add_weight("down_bias", [width], initializer="zeros")
        self.up = self.add_weight("up", [width, outputs], initializer="zeros")
        self.up_bias = self.add_weight("up_bias", [outputs], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Apply to [..., inputs]."""
        states = self._dense(inputs)
        inner = tf.nn.gelu(states @ self.down + self.down_bias)
        return states + inner @ self.up + self.up_bias


class Prefix(tf.Module):
    """Learned keys and values that every layer attends to before those of the text.

    Li & Liang 2021, "Prefix-tuning", without their reparametrisation, as Liu et al. 2022 do
    ("P-tuning v2").
    """

    def __init__(self, bert: TFBertModel, length: int) -> None:
        """Make room for `length` positions in each layer of `bert`."""
        super().__init__(name="prefix")
        config = bert.config
        heads = config.num_attention_heads
        shape = [config.num_hidden_layers, 2, heads, length, config.hidden_size // heads]
        start = tf.random.normal(shape, stddev=_PREFIX_SPREAD)
        self.states = tf.Variable(start, name="states")
        self._dtype = bert.compute_dtype

    def __call__(self, attended: tf.Tensor) -> dict[str, Any]:
        """Arguments of BERT for a batch whose own attention mask is int32 [B, L]."""
        rows, width = tf.unstack(tf.shape(attended))
        length = self.states.shape[3]
        states = tf.cast(self.states, self._dtype)[:, :, tf.newaxis]
        states = tf.tile(states, [1, 1, rows, 1, 1, 1])
        return {
            "attention_mask": tf.concat([tf.ones([rows, length], tf.int32), attended], axis=1),
            # Else BERT would take the prefix for text and shift what follows.
            "position_ids": tf.range(width)[tf.newaxis],
            "past_key_values": tuple(tuple(tf.unstack(layer)) for layer in tf.unstack(states)),
        }


def adapt(
    bert: TFBertModel, *, trainable_layers: int, adaptation: Adaptation, size: int
) -> tuple[tuple[tf.Variable, ...], Prefix | None]:
    """Add what the adaptation adds, and say which variables are fine-tuned.

    - `full`: all weights of the top layers; with -1 also the embeddings.
    - `bitfit`: of these the biases and layer norms (Ben Zaken et al. 2022, "BitFit").
    - `lora`: low-rank matrices beside the query and value projections of the top layers.
    - `adapter`: bottlenecks after attention and after the feed-forward part of the top layers.
    - `prefix`: keys and values before those of the text, in all layers.

    Args:
        bert: loaded; layers are replaced in place.
        trainable_layers: number of top layers, 0 for none, -1 for all and the embeddings.
        adaptation: which weights.
        size: rank, width or length of what is added.

    Returns:
        The variables, none where the encoder is frozen, and the prefix to call `bert` with.

    Raises:
        BadInput: there are not so many layers, or prefixes are asked for in some layers only.
    """
    layers = bert.bert.encoder.layer
    check_trained(len(layers), trainable_layers, adaptation)
    if trainable_layers == 0:
        return (), None
    if adaptation == "prefix":
        prefix = Prefix(bert, size)
        return (prefix.states,), prefix
    chosen = layers if trainable_layers == -1 else layers[len(layers) - trainable_layers :]
    if adaptation == "lora":
        return tuple(v for layer in chosen for v in _with_low_rank(layer, size)), None
    if adaptation == "adapter":
        return tuple(v for layer in chosen for v in _with_adapters(layer, size)), None
    variables = [variable for layer in chosen for variable in layer.variables]
    if trainable_layers == -1:
        variables = list(bert.variables)
    if adaptation == "bitfit":
        variables = [v for v in variables if any(part in v.name for part in _BITFIT)]
    return tuple(variables), None


def _with_low_rank(layer: Any, rank: int) -> list[tf.Variable]:
    attention = layer.attention.self_attention
    attention.query = LowRankDense(attention.query, rank)
    attention.value = LowRankDense(attention.value, rank)
    return [v for dense in (attention.query, attention.value) for v in (dense.down, dense.up)]


def _with_adapters(layer: Any, width: int) -> list[tf.Variable]:
    added: list[tf.Variable] = []
    for part in (layer.attention.dense_output, layer.bert_output):
        part.dense = AdapterDense(part.dense, width)
        added += [part.dense.down, part.dense.down_bias, part.dense.up, part.dense.up_bias]
    return added
