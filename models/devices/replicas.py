"""What the replicas of a training step tell each other; with one of them, nothing.

A step sees the same batch on any number of devices: each replica reads its part of the rows, makes
its share of the loss, and the optimiser adds the gradients of the shares up.
"""

from __future__ import annotations

import tensorflow as tf


def replica_count() -> int:
    """How many replicas share a step."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def gathered(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas [R * N, ...] from those of this one [N, ...], its own ones first.

    Gradients flow back to where the rows came from.
    """
    if replica_count() == 1:
        return rows
    context = tf.distribute.get_replica_context()
    everything = context.all_gather(rows, axis=0)
    before = context.replica_id_in_sync_group * tf.shape(rows)[0]
    return tf.roll(everything, -before, axis=0)


def summed(value: tf.Tensor) -> tf.Tensor:
    """The sum of what the replicas have here."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
