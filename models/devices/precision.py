"""In which precision the encoder computes."""

from __future__ import annotations

from typing import Final

import tensorflow as tf
import tf_keras

from models.options import Precision

# Compute capability from which NVIDIA's GPUs multiply bfloat16 in hardware (Ampere).
_BFLOAT16_CAPABILITY: Final = (8, 0)


def set_precision(name: Precision) -> None:
    """Set Keras' policy; layers made afterwards follow it.

    bfloat16 has float32's range, so the loss needs no scaling. "auto" takes it where the devices
    multiply it in hardware: TPUs, and GPUs where all of them are new enough, as a step is as fast
    as its slowest device. CPUs are left in float32, where most of them are faster. A TPU has to be
    connected by then.
    """
    bfloat16 = name == "bfloat16" or (name == "auto" and _multiply_bfloat16())
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if bfloat16 else "float32")


def _multiply_bfloat16() -> bool:
    if tf.config.list_logical_devices("TPU"):
        return True
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in gpus
    ]
    return bool(gpus) and min(capabilities) >= _BFLOAT16_CAPABILITY
