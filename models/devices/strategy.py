"""Where training runs and in which precision: both by configuration, in one place."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from models.options import Precision, Strategy

# Compute capability from which NVIDIA's GPUs multiply bfloat16 in hardware (Ampere).
_BFLOAT16_CAPABILITY = (8, 0)


def make_strategy(name: Strategy) -> tf.distribute.Strategy:
    """The distribution strategy of that name; clusters are described by TF_CONFIG."""
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker_mirrored":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.get_strategy()


def set_precision(name: Precision) -> None:
    """Set Keras' policy; layers made afterwards follow it.

    bfloat16 has float32's range, so the loss needs no scaling. "auto" takes it where the device
    multiplies it in hardware: TPUs and newer GPUs. CPUs are left in float32, where most of them
    are faster.
    """
    bfloat16 = name == "bfloat16" or (name == "auto" and _multiplies_bfloat16())
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if bfloat16 else "float32")


def _multiplies_bfloat16() -> bool:
    if tf.config.list_physical_devices("TPU"):
        return True
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return any(d.get("compute_capability", (0, 0)) >= _BFLOAT16_CAPABILITY for d in details)
