"""Further pre-training of the encoder on the catalogue's own texts, by masked words.

Gururangan et al. 2020, "Don't stop pretraining": what a shop's texts are about need not be what the
encoder has read so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
import tf_keras
from transformers.models.bert.modeling_tf_bert import TFBertMLMHead

from models.arrays import Tokens
from models.devices.fitting import fit
from models.devices.replicas import summed
from models.encoders.encoder import TextEncoder
from models.encoders.folder import EncoderFolder
from models.options import PretrainingOptions

# Of the chosen word pieces (Devlin et al. 2018, section 3.1); the rest stay as they are.
_MASKED: Final = 0.8
_REPLACED: Final = 0.1
_NOT_ASKED: Final = -1


class MaskedWords(tf_keras.Model):
    """The encoder with BERT's head for masked words, whose output weights are the word vectors.

    The packaged encoder comes without such a head, so its dense layer is learned from nothing.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self._encoder = encoder
        self._head = TFBertMLMHead(encoder.bert.config, encoder.bert.bert.embeddings)
        self._head.build(None)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The encoder's unfrozen ones and the head's own."""
        head = self._head.predictions
        return [
            *self._encoder.trainable_variables,
            *head.transform.trainable_weights,
            head.bias,
        ]

    def loss_of(self, tokens: tf.Tensor, wanted: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Mean cross-entropy of the masked word pieces, a float32 scalar in nats.

        Args:
            tokens: int32 [B, T], some of them masked.
            wanted: int32 [B, T], the word piece that stood there; -1 where nothing is asked.
            training: whether dropout applies.
        """
        states, _ = self._encoder.states(tokens, training=training)
        wanted = wanted[:, : tf.shape(states)[1]]
        asked = wanted != _NOT_ASKED
        logits = self._head(tf.boolean_mask(states, asked)[tf.newaxis])[0]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.boolean_mask(wanted, asked), logits=tf.cast(logits, tf.float32)
        )
        return tf.reduce_sum(losses) / tf.maximum(tf.cast(tf.size(losses), tf.float32), 1.0)

    def train_step(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update from masked tokens and what is wanted."""
        asked = tf.reduce_sum(tf.cast(inputs[1] != _NOT_ASKED, tf.float32))
        # Of the word pieces that all replicas are asked for.
        share = asked / tf.maximum(summed(asked), 1.0)
        with tf.GradientTape() as tape:
            loss = share * self.loss_of(*inputs, training=True)
        variables = self.trainable_weights
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"loss": loss}


def pretrain(
    encoder: TextEncoder,
    folder: EncoderFolder,
    tokens: Tokens,
    *,
    options: PretrainingOptions,
    seed: int,
    checkpoints: Path | None = None,
) -> list[float]:
    """Train the encoder's unfrozen weights in place to tell masked words of the catalogue.

    Args:
        encoder: with its freezing policy applied, made in the same scope of a strategy.
        folder: it was loaded from.
        tokens: int32 [I, T] of the catalogue, new products included: nothing is asked of anybody.
        options: steps, batch, learning rate.
        seed: of the sampling.
        checkpoints: folder from which a killed training goes on; None for none.

    Returns:
        The loss of each step.
    """
    if not options.steps:
        return []
    model = MaskedWords(encoder)
    model.compile(optimizer=tf_keras.optimizers.AdamW(options.learning_rate, clipnorm=1.0))
    return fit(
        model,
        lambda: _masked_batches(tokens, folder, options, seed),
        steps=options.steps,
        checkpoints=checkpoints,
    )


def _masked_batches(
    tokens: Tokens, folder: EncoderFolder, options: PretrainingOptions, seed: int
) -> Iterator[tuple[Tokens, Tokens]]:
    random = np.random.default_rng(seed)
    while True:
        rows = random.integers(0, len(tokens), options.batch_items)
        yield mask_words(tokens[rows], folder, options.masked_share, random)


def mask_words(
    tokens: Tokens, folder: EncoderFolder, share: float, random: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Choose word pieces and mask most of them, as BERT's pre-training does.

    Args:
        tokens: int32 [B, T].
        folder: names the special tokens, which are never chosen.
        share: of the word pieces.
        random: decides which.

    Returns:
        int32 [B, T] to read, and int32 [B, T] of what is wanted, -1 where nothing is.
    """
    special = np.isin(tokens, [folder.pad_id, folder.cls_id, folder.sep_id])
    chosen = ~special & (random.random(tokens.shape) < share)
    draw = random.random(tokens.shape)
    read = np.where(chosen & (draw < _MASKED), folder.mask_id, tokens)
    other = random.integers(0, folder.vocabulary_size, tokens.shape)
    # Padding would end the text there.
    other = np.where(other == folder.pad_id, folder.mask_id, other)
    read = np.where(chosen & (draw >= _MASKED) & (draw < _MASKED + _REPLACED), other, read)
    return read.astype(np.int32), np.where(chosen, tokens, _NOT_ASKED).astype(np.int32)
