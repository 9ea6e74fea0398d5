"""REST Classify and Regress bodies: JSON objects to `tf.Example`s, and results to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2

from serving.rest.json_parser import encode
from serving.rest.json_tensors import decode_base64, is_base64
from serving.rest.json_writer import PrettyWriter, debug_string, decimal, quote, type_name
from serving.rest.rapid_json import c_string
from serving.status import StatusError, invalid_argument


def fill_input(source: Any, document: Mapping[str, Any]) -> None:
    """Fills an `Input` message from `examples` and `context` of a classify or regress body."""
    target = source.example_list
    if "context" in document:
        target = source.example_list_with_context
        target.context.CopyFrom(_example(document["context"]))
    examples = document.get("examples")
    if "examples" not in document:
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} When method is classify, key 'examples' is"
            " expected and was not found"
        )
    if not isinstance(examples, list):
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} 'examples' value is an empty array"
        )
    target.examples.extend(_example(example) for example in examples)


def classification_json(result: Any) -> str:
    """The body of a Classify answer: per example a list of [label, score]."""
    writer = PrettyWriter()
    writer.start("{")
    writer.string("results")
    writer.start("[")
    for classifications in result.classifications:
        writer.single_line = True
        writer.start("[")
        for entry in classifications.classes:
            writer.tokens([quote(entry.label), decimal(entry.score, np.float32)])
        writer.end("]")
        writer.single_line = False
    writer.end("]")
    writer.end("}")
    return writer.text()


def regression_json(result: Any) -> str:
    """The body of a Regress answer: one number per example."""
    writer = PrettyWriter()
    writer.start("{")
    writer.string("results")
    writer.single_line = True
    writer.tokens([decimal(entry.value, np.float32) for entry in result.regressions])
    writer.end("}")
    return writer.text()


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for key, content in value.items():
        name = c_string(key)
        feature = example.features.feature[name]
        feature.Clear()  # of equal keys the last counts
        for element in content if isinstance(content, list) else [content]:
            _add_to_feature(feature, name, element)
    return example


def _add_to_feature(feature: feature_pb2.Feature, name: str, value: Any) -> None:
    kind = _kind(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type:"
            f" {present.removesuffix('_list')}"
        )
    element: bytes | float | int
    if kind == "bytes_list":
        element = decode_base64(value) if isinstance(value, dict) else encode(value)
    elif kind == "float_list":
        element = float(value)
    elif value >= 2**63:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        element = int(value)
    getattr(feature, kind).value.append(element)


def _kind(name: str, value: Any) -> str:
    """The kind of feature that a JSON value is an element of."""
    if value is None or isinstance(value, list):
        raise _feature_error(name, value)
    if isinstance(value, dict):
        if not is_base64(value):
            raise _feature_error(name, value)
        return "bytes_list"
    if isinstance(value, str):
        return "bytes_list"
    # To the stock server's parser a number that 64 bits can't hold is none but a double.
    is_integer = isinstance(value, int) and -(2**63) <= value < 2**64
    return "int64_list" if is_integer else "float_list"


def _feature_error(name: str, value: Any) -> StatusError:
    return invalid_argument(
        f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
    )
