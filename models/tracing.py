"""Functions that are traced once for all signatures of a served model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def traced_once(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """A function that has one graph, whoever calls it, and none of its own in a saved model.

    A copy of a large graph in each signature takes as long again at every load. So does one that
    nobody calls: `tf.saved_model.save` traces every `tf.function` anew that it finds among the
    attributes of a module, which is why what is returned is not one.

    Args:
        function: of tensors. Without AutoGraph, which would rewrite all of transformers' code to
            no effect.
        signature: of its arguments.
    """
    traced = tf.function(function, input_signature=signature, autograph=False)
    return lambda *inputs: traced(*inputs)
