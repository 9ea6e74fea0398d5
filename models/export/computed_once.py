"""Functions of a graph that compute nothing twice.

Python traces what it is told: every constant and every shape again, two ops in five. A load makes
each of them, and each signature that inlines a function compiles them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

# What TensorFlow's own importer asks about an op.
from tensorflow.python.framework import op_def_registry

_BESIDE: Final = "_class"  # an attribute: the ops on whose device this one is to run
_PREFIX: Final = b"loc:@"


def compute_once(function: FunctionDef) -> None:
    """Take away each op that does what one before it does, with the same inputs.

    Args:
        function: of a graph; changed in place.
    """
    first: dict[bytes, str] = {}
    instead: dict[str, str] = {}
    for node in function.node_def:
        if _is_stateless(node):
            name = first.setdefault(_work(node, instead), node.name)
            if name != node.name:
                instead[node.name] = name
    kept = [node for node in function.node_def if node.name not in instead]
    for node in kept:
        node.input[:] = [_now(tensor, instead) for tensor in node.input]
        if _BESIDE in node.attr:
            places = node.attr[_BESIDE].list.s
            places[:] = [_place_now(place, instead) for place in places]
    del function.node_def[:]
    function.node_def.extend(kept)
    for outputs in (function.ret, function.control_ret):
        for name, tensor in outputs.items():
            outputs[name] = _now(tensor, instead)


def _is_stateless(node: NodeDef) -> bool:
    """Whether its inputs decide its outputs; False for a call by the name of a function."""
    op = op_def_registry.get(node.op)
    return op is not None and not op.is_stateful


def _work(node: NodeDef, instead: Mapping[str, str]) -> bytes:
    """What it does, of what and after what: all but its name."""
    work = NodeDef(op=node.op, device=node.device, attr=node.attr)
    work.input.extend(_now(tensor, instead) for tensor in node.input)
    serialized: bytes = work.SerializeToString(deterministic=True)
    return serialized


def _now(tensor: str, instead: Mapping[str, str]) -> str:
    """`op:output:0`, `^op` or `op`, of the op that is there instead."""
    op, colon, output = tensor.removeprefix("^").partition(":")
    return f"{'^' * tensor.startswith('^')}{instead.get(op, op)}{colon}{output}"


def _place_now(place: bytes, instead: Mapping[str, str]) -> bytes:
    op = place.removeprefix(_PREFIX).decode()
    return _PREFIX + instead.get(op, op).encode()
