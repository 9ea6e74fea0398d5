"""Checkpoints of a training of the encoder, from which a killed one goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from models.devices.replicas import summed
from models.devices.strategy import is_chief
from models.errors import BadInput

# Steps between two checkpoints.
EVERY: Final = 10


class Checkpoints(tf_keras.callbacks.Callback):
    """Writes one after every so many steps; only the newest stays.

    It holds what is trained and the optimiser's state. Frozen weights come from their folder.
    """

    def __init__(self, model: tf_keras.Model, folder: Path, *, steps: int) -> None:
        """Go on from the newest checkpoint where there is one.

        Args:
            model: compiled, its optimiser built.
            folder: all workers see the same one; the first of them writes.
            steps: of the whole training. There is no checkpoint after the last one, because what
                Keras does at the end is not in it.

        Raises:
            BadInput: not all workers see the same checkpoint.
        """
        super().__init__()
        self._steps = steps
        self._iterations = model.optimizer.iterations
        self._writes = is_chief(model.distribute_strategy)
        checkpoint = tf.train.Checkpoint(
            weights=model.trainable_variables, optimizer=model.optimizer
        )
        # Counts what is saved. It takes all workers to make a variable, and only one of them saves.
        self._saved = checkpoint.save_counter
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1)
        if self._manager.latest_checkpoint:
            found = checkpoint.restore(self._manager.latest_checkpoint)
            found.assert_existing_objects_matched()
        _agree(model.distribute_strategy, int(self._iterations.numpy()), folder)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keras names the method."""
        step = int(self._iterations.numpy())
        if self._writes and step % EVERY == 0 and step < self._steps:
            self._manager.save(checkpoint_number=step)


def folder_of(place: str, options: str, data: Sequence[npt.NDArray[Any]]) -> Path:
    """The folder in `place` for one training and no other.

    Args:
        place: as configured.
        options: all options, in words.
        data: everything else that training depends on.
    """
    digest = hashlib.sha256(options.encode())
    for array in data:
        digest.update(np.ascontiguousarray(array).tobytes())
    return Path(place) / digest.hexdigest()[:16]


def _agree(strategy: tf.distribute.Strategy, step: int, folder: Path) -> None:
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def apart() -> tf.Tensor:
        """How far all are from their mean; in whole numbers, which float32 holds up to 2^24."""
        own = tf.constant(step, tf.float32)
        return summed(tf.abs(replicas * own - summed(own)))

    if float(strategy.experimental_local_results(strategy.run(apart))[0]):
        raise BadInput(
            f"This worker found step {step} in {folder}, another one something else. Set "
            "training.checkpoints to a folder that all workers share, or empty it."
        )
