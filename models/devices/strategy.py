"""The `tf.distribute` strategy that the configuration names."""

from __future__ import annotations

import functools

import tensorflow as tf

from models.devices.replicas import summed
from models.errors import BadInput
from models.options import Strategy


@functools.cache
def make_strategy(name: Strategy) -> tf.distribute.Strategy:
    """The strategy of that name; the same one at each call, as a process joins a cluster once.

    `mirrored` takes all GPUs, and all logical CPU devices where there is no GPU. The cluster of
    `multi_worker_mirrored` is described by TF_CONFIG; without it this machine is all of it.

    Raises:
        BadInput: TF_CONFIG describes no cluster; TensorFlow has run something already, and it is
            too late to join one; or there is no TPU.
    """
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multi_worker_mirrored":
        return _join_cluster()
    if name == "tpu":
        return _find_tpu()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes: the only one, the chief, or worker 0."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    cluster = strategy.cluster_resolver
    if cluster.task_type is None:
        return True
    has_chief = "chief" in cluster.cluster_spec().jobs
    return cluster.task_type == "chief" or (not has_chief and cluster.task_id == 0)


def meet(strategy: tf.distribute.Strategy) -> None:
    """Wait until every worker of the strategy is here."""
    strategy.run(tf.function(lambda: summed(tf.constant(1.0)), autograph=False))


def _join_cluster() -> tf.distribute.Strategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except ValueError as error:
        raise BadInput(
            f"The environment variable TF_CONFIG describes no cluster with this worker ({error}). "
            "Name all workers and this one's task in it, as a training operator does, or unset it."
        ) from error
    except RuntimeError as error:
        raise BadInput(
            "Workers have to be connected before TensorFlow runs anything, and in this process it "
            "has run already. Run the Trainer in processes of its own, as the tasks of `debut "
            "compile` are, or set training.strategy to another one."
        ) from error


def _find_tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise BadInput(
            f"training.strategy is tpu, and no TPU was found ({error}). Name one in TPU_NAME on a "
            "machine that reaches it, or set training.strategy to another one."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
