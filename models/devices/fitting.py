"""Fits a model of the encoder with Keras, on whatever devices it was made for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from absl import logging

from models.devices.checkpoints import Checkpoints
from models.errors import BadInput

# A nest of arrays with equally many rows.
Batch = Any


def fit(
    model: tf_keras.Model,
    batches: Callable[[], Iterator[Batch]],
    *,
    steps: int,
    checkpoints: Path | None = None,
) -> list[float]:
    """Fit a compiled model, on the devices of the strategy in whose scope it was made.

    Args:
        model: its `train_step` answers this replica's share of the loss.
        batches: begins an endless series, the same at each call. The rows of a batch are dealt out
            evenly to the replicas.
        steps: how many of the batches are trained on.
        checkpoints: folder of `models.devices.checkpoints`; None for none.

    Returns:
        The loss of each step that was made here, float [steps], fewer after a checkpoint.

    Raises:
        BadInput: the rows can't be dealt out evenly.
    """
    strategy = model.distribute_strategy
    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    # Keras adds shares up by itself, but not on TPUs.
    model.distribute_reduction_method = "sum"
    losses = _Losses()
    callbacks: list[tf_keras.callbacks.Callback] = [losses]
    if checkpoints is not None:
        callbacks.append(Checkpoints(model, checkpoints, steps=steps))
    done = int(model.optimizer.iterations.numpy())
    # Keras takes the average of the weights over, where there is one, when `fit` ends.
    model.fit(
        strategy.distribute_datasets_from_function(_dealt(batches, done)),
        steps_per_epoch=steps - done, epochs=1, verbose=0, callbacks=callbacks,
    )  # fmt: skip
    logging.info(
        "%s: steps %d to %d on %d devices, loss %.4f to %.4f", type(model).__name__, done + 1,
        steps, strategy.num_replicas_in_sync, losses.values[0], losses.values[-1],
    )  # fmt: skip
    return losses.values


class _Losses(tf_keras.callbacks.Callback):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keras names the method."""
        self.values.append(float((logs or {})["loss"]))


def _dealt(
    batches: Callable[[], Iterator[Batch]], done: int
) -> Callable[[tf.distribute.InputContext], tf.data.Dataset]:
    """What makes the data of one worker: of each batch the parts of its replicas.

    Args:
        batches: as above. Every worker draws all of them, from the same seed.
        done: how many have been trained on.
    """

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def parts() -> Iterator[Batch]:
            for batch in itertools.islice(batches(), done, None):
                for replica in range(first, first + here):
                    yield _part(batch, replica, replicas)

        like = _part(next(batches()), 0, replicas)
        return tf.data.Dataset.from_generator(
            parts,
            output_signature=tf.nest.map_structure(
                lambda array: tf.TensorSpec(array.shape, array.dtype), like
            ),
        )

    return dataset


def _part(batch: Batch, replica: int, replicas: int) -> Batch:
    rows = len(tf.nest.flatten(batch)[0])
    if rows % replicas:
        raise BadInput(
            f"A batch of {rows} can't be dealt out evenly to {replicas} devices. Make "
            f"finetuning.batch_pairs and pretraining.batch_items multiples of {replicas}, or train "
            "on another number of devices."
        )
    return tf.nest.map_structure(lambda array: np.split(array, replicas)[replica], batch)
