"""The table's notation for messages: requests from YAML to protobuf, answers to what YAML says.

A tensor is `{dtype: values}` (nested lists; `shape` where they can't tell it), a `tf.Example` is
`{feature: values}`, a model spec is `spec`. A tensor that is odd on purpose is written as protobuf
JSON.
"""

import re
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict, ParseDict
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.string: "string_val",
    tf.bool: "bool_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.float16: "half_val",
    tf.bfloat16: "half_val",
}


def tensor(entry: dict[str, Any]) -> tensor_pb2.TensorProto:
    """`{dtype: values}` with every value in its typed field."""
    if "tensor_shape" in entry or "float_val" in entry:
        return ParseDict(entry, tensor_pb2.TensorProto())
    [name] = entry.keys() - {"shape"}
    dtype = tf.as_dtype(name)
    if dtype == tf.string:
        texts = np.array(entry[name], object)
        values = [_bytes(value) for value in texts.reshape(-1)]
        shape = entry.get("shape", texts.shape)
    else:
        array = np.array(entry[name]).astype(dtype.as_numpy_dtype)
        shape = entry.get("shape", array.shape)
        halves = dtype in (tf.float16, tf.bfloat16)
        values = (array.view(np.uint16) if halves else array).reshape(-1).tolist()
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS.get(dtype, "int_val")).extend(values)
    return proto


def request(method: str, entry: dict[str, Any]) -> Any:
    """The message of an entry's request."""
    rest = {key: value for key, value in entry.items() if key not in _OWN}
    message = ParseDict(rest, REQUESTS[method]())
    if "spec" in entry:
        ParseDict(entry["spec"], message.model_spec)
        message.model_spec.SetInParent()
    for name, value in entry.get("inputs", {}).items():
        message.inputs[name].CopyFrom(_input(value))
    for task in entry.get("tasks", ()):
        added = message.tasks.add(method_name=task.get("method", ""))
        if "spec" in task:
            ParseDict(task["spec"], added.model_spec)
    if "context" in entry:
        source = message.input.example_list_with_context
        source.context.CopyFrom(example(entry["context"]))
        source.examples.extend(map(example, entry.get("examples", ())))
    elif "examples" in entry:
        message.input.example_list.SetInParent()
        message.input.example_list.examples.extend(map(example, entry["examples"]))
    return message


_OWN = {"spec", "inputs", "tasks", "context", "examples"}


def _input(entry: dict[str, Any]) -> tensor_pb2.TensorProto:
    if "examples" not in entry:
        return tensor(entry)
    return tensor({"string": [example(e).SerializeToString() for e in entry["examples"]]})


def example(entry: dict[str, list[Any]]) -> tf.train.Example:
    """`{feature: values}`: floats with a point, integers without one."""
    message = tf.train.Example()
    for name, values in entry.items():
        feature = message.features.feature[name]
        kind = feature.float_list if isinstance(values[0], float) else feature.int64_list
        kind.value.extend(values)
    return message


def expected(answer: dict[str, Any]) -> Any:
    """An entry's answer, comparable with `given`."""
    spec = {"model_spec": answer["spec"]} if "spec" in answer else {}
    outputs = {name: _plain(tensor(value)) for name, value in answer.get("outputs", {}).items()}
    rest = {key: value for key, value in answer.items() if key not in ("spec", "outputs")}
    numbers: dict[str, Any] = _numbers(
        {**rest, **spec, **({"outputs": outputs} if outputs else {})}
    )
    return numbers


def given(answer: Any) -> Any:
    """A gRPC answer as a dictionary: enums by name, 64-bit integers as integers, bytes base64."""
    numbers: dict[str, Any] = _numbers(_plain(answer))
    return numbers


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def _numbers(value: Any) -> Any:
    """Protobuf JSON writes 64-bit integers as strings, YAML as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    return value


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def without_function_numbers(text: str) -> str:
    """A message without the numbers that TensorFlow gives a process' functions as they come."""
    return re.sub(r"(function_node \w+?)_\d+(?=\}\})", r"\1_N", text)
