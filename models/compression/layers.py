"""A student with fewer layers: the teacher's lowest ones, trained to give the teacher's vectors.

Of BERT's layers the upper ones can be missed best (Sajjad et al. 2023, "On the effect of dropping
layers"). Word vectors stay as they are, so that words outside the lessons keep their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import tensorflow as tf
import tf_keras

from models.arrays import Floats, Tokens
from models.compression.teaching import Lessons
from models.devices.fitting import fit
from models.devices.replicas import replica_count
from models.encoders.encoder import TextEncoder
from models.encoders.folder import EncoderFolder

_BATCH: Final = 64
_LEARNING_RATE: Final = 5e-4
_WARM_UP: Final = 20


class Student(tf_keras.Model):
    """Learns vectors by their cosine."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self._encoder = encoder

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The encoder's: Keras doesn't look into a `tf.Module`."""
        return list(self._encoder.trainable_variables)

    def train_step(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update from tokens int32 [B, T] and the teacher's vectors float32 [B, hidden]."""
        tokens, wanted = inputs
        with tf.GradientTape() as tape:
            found = self._encoder(tokens, training=True)
            agreement = tf.reduce_sum(found * wanted, axis=1)
            loss = tf.reduce_mean(1.0 - agreement) / replica_count()
        variables = self.trainable_weights
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"loss": loss}


def teach_layers(
    teacher: TextEncoder, folder: EncoderFolder, lessons: Lessons, *, layers: int, steps: int,
    seed: int,
) -> TextEncoder:  # fmt: skip
    """Train the lowest layers of a copy of the teacher.

    Args:
        teacher: with all layers, perhaps fine-tuned.
        folder: it was loaded from.
        lessons: texts and what the teacher makes of them.
        layers: that are kept.
        steps: updates.
        seed: of the sampling.
    """
    student = untaught_layers(folder, layers)
    own, theirs = student.bert.bert, teacher.bert.bert
    pairs = zip(
        [own.embeddings, *own.encoder.layer], [theirs.embeddings, *theirs.encoder.layer],
        strict=False,
    )  # fmt: skip
    for part, taught in pairs:
        part.set_weights(taught.get_weights())
    if not steps:
        return student
    rate = tf_keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(steps - _WARM_UP, 1), warmup_target=_LEARNING_RATE,
        warmup_steps=_WARM_UP,
    )  # fmt: skip
    model = Student(student)
    model.compile(optimizer=tf_keras.optimizers.AdamW(rate, clipnorm=1.0))
    fit(model, lambda: _batches(lessons, seed), steps=steps)
    return student


def untaught_layers(folder: EncoderFolder, layers: int) -> TextEncoder:
    """The lowest layers as the folder has them."""
    return TextEncoder(folder, layers=layers, trainable_layers=layers)


def _batches(lessons: Lessons, seed: int) -> Iterator[tuple[Tokens, Floats]]:
    random = np.random.default_rng(seed)
    while True:
        rows = random.integers(0, len(lessons.tokens), _BATCH)
        yield lessons.tokens[rows], lessons.vectors[rows]
