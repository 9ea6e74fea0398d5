"""Functions that are traced once, and traces that are quickly made and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.python.ops import control_flow_util_v2

Result = TypeVar("Result")


def traced_once(function: Callable[..., Result], *signature: Any) -> Callable[..., Result]:
    """A function that has one graph, whoever calls it, and none of its own in a saved model.

    A copy of a large graph in each signature takes as long again at every load. So does one that
    nobody calls: `tf.saved_model.save` traces every `tf.function` anew that it finds among the
    attributes of a module, which is why what is returned is not one.

    Args:
        function: of tensors. Without AutoGraph, which would rewrite all of transformers' code to
            no effect.
        signature: of its arguments, each a `tf.TypeSpec` or a nest of them.
    """
    traced = tf.function(function, input_signature=signature, autograph=False)
    return lambda *inputs: traced(*inputs)


@cache
def traced_for_all(
    function: Callable[..., Any], *signature: tf.TypeSpec, **settings: Any
) -> Callable[..., Any]:
    """`traced_once`, and the graph is that of everybody in this process who asks for the same.

    Transform makes ten graphs of a preprocessing function for one analysis, and a call is one op
    where what it calls is a hundred.

    Args:
        function: of tensors and settings, without tables or variables, which belong to a model.
        signature: of the tensors.
        settings: hashable.
    """

    def body(*inputs: Any) -> Any:
        # Whoever traces it first may be Transform, which marks branches.
        with branches_as_calls():
            return function(*inputs, **settings)

    return traced_once(body, *signature)


def traced_at_first_call(function: Callable[..., Any], **free: int) -> Callable[..., Any]:
    """A function that has one graph for batches of all sizes.

    TensorFlow would trace one for the first batch and another one for all others.

    Args:
        function: of nests of tensors, which are given by name.
        free: how many of a tensor's axes differ in size from batch to batch; 1 where it isn't said.
    """
    compiled: Callable[..., Any] | None = None

    def any_size(name: str, tensors: Any) -> Any:
        axes = free.get(name, 1)
        return tf.nest.map_structure(
            lambda tensor: tf.TensorSpec([None] * axes + tensor.shape[axes:], tensor.dtype), tensors
        )

    def call(**batch: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            specs = {name: any_size(name, tensors) for name, tensors in batch.items()}
            compiled = tf.function(function, autograph=False).get_concrete_function(**specs)
        return compiled(**batch)

    return call


@contextmanager
def branches_as_calls() -> Iterator[None]:
    """Trace `tf.cond` and `tf.while_loop` so that what is not taken costs nothing.

    TensorFlow marks them to be rewritten into `Switch` and `Merge` when the graph is loaded. Then
    the executor goes through every op of every branch at each request, to find that most are not
    to be run. Unmarked, a branch is a function that is called or not.

    A private variable of TensorFlow's decides (see its `maybe_set_lowering_attr`): `tf.switch_case`
    has an argument for it, `tf.cond` and `tf.while_loop` have none. Other threads that trace
    meanwhile get unmarked ops too, which are as right. See docs/adr/0020-branches-as-calls.md.
    """
    before = control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE
    control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = True
    try:
        yield
    finally:
        control_flow_util_v2._DISABLE_LOWER_USING_SWITCH_MERGE = before
