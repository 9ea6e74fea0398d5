"""Room for the variables of some versions in one graph, and a feed that says whose a run reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.op_def_pb2 import OpDef
from tensorflow.core.framework.types_pb2 import DT_RESOURCE

# TensorFlow has no public function for either.
from tensorflow.python.framework import op_def_registry
from tensorflow.python.ops.handle_data_util import copy_handle_data

SLOTS: Final = 4
"""As many versions as `debut serve` has in memory with a canary, while the next one is loaded."""
_VARIABLE: Final = "VarHandleOp"
# A table is filled from the graph or an asset, and refuses to be filled with anything else.
_SHARED: Final = frozenset({_VARIABLE, "HashTableV2"})
_SCOPE: Final = "variable_slots"


class VariableSlots(NamedTuple):
    """What a graph gets before its MetaGraph is imported into it.

    Attributes:
        feed: name of an int32 [], the slot that a run is about.
        inputs: for the import: each handle of a variable, and the one of the run's slot instead.
        clear: name of the operation that frees the variables of the run's slot.
    """

    feed: str
    inputs: dict[str, tf.Tensor]
    clear: str


def add_slots(graph_def: GraphDef) -> VariableSlots | None:
    """Add `SLOTS` sets of the variables of a graph to the default graph.

    A request pays a microsecond for each variable that it reads.

    Args:
        graph_def: that is to be imported.

    Returns:
        None where versions of the graph would share more than what never changes, or have no
        variables.
    """
    variables = [node for node in graph_def.node if node.op == _VARIABLE]
    if not variables or not _keeps_no_other_state(graph_def):
        return None
    with tf.name_scope(_SCOPE):
        slot = tf.compat.v1.placeholder(tf.int32, [], name="slot")
        chosen = [tf.equal(slot, number) for number in range(SLOTS)]
        inputs = {f"{node.name}:0": _handle(node, chosen) for node in variables}
        destroyed = [
            tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
            for handle in inputs.values()
        ]
        clear = tf.group(*destroyed, name="clear")
    return VariableSlots(slot.name, inputs, clear.name)


def _handle(node: NodeDef, chosen: Sequence[tf.Tensor]) -> tf.Tensor:
    """The handle of a variable in the slot that a run is about, of whether it is each of them."""
    shape, container = node.attr["shape"].shape, node.attr["container"].s
    with tf.device(node.device):
        handles = [
            tf.raw_ops.VarHandleOp(
                dtype=tf.as_dtype(node.attr["dtype"].type), shape=tf.TensorShape(shape),
                shared_name=node.attr["shared_name"].s,
                # The first slot's variables have the names that errors tell.
                container=container + (b"slot-%d" % slot if slot else b""),
            )
            for slot in range(len(chosen))
        ]  # fmt: skip
        alive = [
            tf.raw_ops.Switch(data=handle, pred=is_chosen).output_true
            for handle, is_chosen in zip(handles, chosen, strict=True)
        ]
        handle = tf.raw_ops.Merge(inputs=alive).output
    # Without it the imported operations would not know the variable's shape.
    copy_handle_data(handles[0], handle)
    return handle


def _keeps_no_other_state(graph_def: GraphDef) -> bool:
    functions = graph_def.library.function
    inner = {node.op for function in functions for node in function.node_def}
    return _VARIABLE not in inner and all(
        op in _SHARED or not _makes_state(op) for op in inner | {node.op for node in graph_def.node}
    )


def _makes_state(op: str) -> bool:
    """Whether an operation makes something that outlives a run; a function is looked into."""
    definition: OpDef | None = op_def_registry.get(op)
    return definition is not None and definition.is_stateful and _hands_out(definition.output_arg)


def _hands_out(outputs: Iterable[OpDef.ArgDef]) -> bool:
    return any(output.is_ref or output.type == DT_RESOURCE for output in outputs)
