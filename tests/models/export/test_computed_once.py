"""Saved functions compute the same as traced ones, with less ops."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf import saved_model_pb2

from models.export.computed_once import compute_once
from models.export.saved_graph import save_graph


class Repetitive(tf.Module):
    """Computes some things twice."""

    def __init__(self):
        super().__init__()
        self.total = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None])], autograph=False)
    def ask(self, x):
        once, again = tf.reduce_sum(x + 1.0), tf.reduce_sum(x + 1.0)
        self.total.assign_add(once)
        between = self.total.read_value()
        self.total.assign_add(again)
        low, high = (tf.math.top_k(sign * x, k=1) for sign in (-1.0, 1.0))
        return {
            "sum": once + again,
            "same": again,
            "grown": tf.stack([between, self.total.read_value()]),
            "range": tf.concat([-low.values, high.values], 0),
            "at": tf.concat([low.indices, high.indices], 0),
            "drawn": tf.stack([tf.random.uniform([]), tf.random.uniform([])]),
            "taken": tf.cond(x[0] > 0.0, lambda: x[0] * 2.0 + x[0] * 2.0, lambda: x[0]),
        }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repetitive")
    module = Repetitive()
    save_graph(module, folder, {"ask": module.ask})
    return folder


@pytest.fixture(scope="module")
def bodies(saved):
    """Of each function in which something is computed, the ops."""
    graph = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    return {
        function.signature.name: Counter(node.op for node in function.node_def)
        for function in graph.meta_graphs[0].graph_def.library.function
    }


@pytest.mark.parametrize("x", [[3.0, -2.0, 5.0], [-3.0, 7.0, 5.0]])
def test_the_answers_are_those_of_the_function_that_was_traced(saved, x):
    answer = tf.saved_model.load(str(saved)).signatures["ask"](tf.constant(x))
    total = sum(x) + len(x)
    np.testing.assert_array_equal(answer["sum"], 2 * total)
    np.testing.assert_array_equal(answer["same"], total)
    np.testing.assert_array_equal(answer["grown"], [total, 2 * total])
    np.testing.assert_array_equal(answer["range"], [min(x), max(x)])
    np.testing.assert_array_equal(answer["at"], [np.argmin(x), np.argmax(x)])
    np.testing.assert_array_equal(answer["taken"], 4 * x[0] if x[0] > 0 else x[0])
    assert len(set(answer["drawn"].numpy())) == 2


def test_what_is_the_same_is_computed_once(bodies):
    [asked] = [ops for ops in bodies.values() if ops["RandomUniform"]]
    assert asked["Sum"] == 1 and asked["TopKV2"] == 2
    [doubled] = [ops for name, ops in bodies.items() if "cond_true" in name]
    assert doubled["Mul"] == 1


def test_what_changes_a_variable_or_draws_is_done_every_time(bodies):
    [asked] = [ops for ops in bodies.values() if ops["RandomUniform"]]
    assert asked["RandomUniform"] == asked["AssignAddVariableOp"] == 2


def function_of(*nodes, **outputs):
    function = FunctionDef(ret=outputs)
    for name, op, inputs in nodes:
        function.node_def.add(name=name, op=op, input=inputs)
    return function


def test_what_waits_for_something_else_is_something_else():
    function = function_of(
        ("a", "Neg", ["x"]), ("b", "Neg", ["x", "^write"]), ("c", "Neg", ["x"]),
        out="b:y:0", same="c:y:0",
    )  # fmt: skip
    compute_once(function)
    assert [node.name for node in function.node_def] == ["a", "b"]
    assert dict(function.ret) == {"out": "b:y:0", "same": "a:y:0"}


def test_whoever_waited_for_it_or_ran_beside_it_has_the_one_that_is_left():
    """Also where they are noted before it."""
    function = function_of(
        ("early", "Abs", ["b:y:0"]), ("a", "Neg", ["x"]), ("b", "Neg", ["x"]),
        ("late", "Abs", ["x", "^b"]),
    )  # fmt: skip
    function.node_def[3].attr["_class"].list.s.append(b"loc:@b")
    function.control_ret["done"] = "b"
    compute_once(function)
    assert [list(node.input) for node in function.node_def] == [["a:y:0"], ["x"], ["x", "^a"]]
    assert list(function.node_def[2].attr["_class"].list.s) == [b"loc:@a"]
    assert dict(function.control_ret) == {"done": "a"}


def test_a_call_by_the_name_of_a_function_is_made_every_time():
    function = function_of(("a", "__inference_draw_7", ["x"]), ("b", "__inference_draw_7", ["x"]))
    compute_once(function)
    assert len(function.node_def) == 2
