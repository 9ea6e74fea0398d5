"""Calls of a loaded model without the graph optimizer's idle passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
