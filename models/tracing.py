"""Functions that are traced once for all signatures of a served model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import tensorflow as tf

# Passes of Grappler that make Debut's graphs no faster. serving/session.config spares a model
# server the same.
_IDLE_PASSES: Final = (
    "arithmetic_optimization",
    "constant_folding",
    "implementation_selector",
    "layout_optimizer",
    "loop_optimization",
    "remapping",
    "shape_optimization",
)


@contextmanager
def quick_first_calls() -> Iterator[None]:
    """Whoever loads a model to call each function a few times does not wait for idle passes."""
    set_options = tf.config.optimizer.set_experimental_options
    before = tf.config.optimizer.get_experimental_options()
    set_options(dict.fromkeys(_IDLE_PASSES, False))
    try:
        yield
    finally:
        set_options({name: before.get(name, True) for name in _IDLE_PASSES})


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
