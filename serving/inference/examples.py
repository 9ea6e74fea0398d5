"""Classify, Regress and MultiInference: signatures over serialized `tf.Example`s.

A signature qualifies by the names of its inputs and outputs, not by its method name, unless the
server was started with the method-name check.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf import text_format
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from serving.inference.predict import CLASSIFY_METHOD, DEFAULT_SIGNATURE, REGRESS_METHOD
from serving.runtime.servable import Array, Servable
from serving.status import StatusError, invalid_argument

_INPUT = "inputs"
_CLASSES, _SCORES, _VALUES = "classes", "scores", "outputs"


class _Task(NamedTuple):
    """What one signature feeds and fetches: tensor names by their place in the method."""

    feed: str
    fetches: dict[str, str]


def classify(
    servable: Servable,
    request: classification_pb2.ClassificationRequest,
    *,
    check_method: bool = False,
    timeout_ms: int = 0,
) -> classification_pb2.ClassificationResponse:
    """Labels and scores of every example; raises `StatusError` as the stock server does."""
    spec = request.model_spec
    task = _classify_task(_signature(servable, spec), check_method=check_method)
    examples = _examples(request.input)
    outputs = _run(servable, [task], examples, api="Classify", timeout_ms=timeout_ms)
    response = classification_pb2.ClassificationResponse()
    _fill_spec(response.model_spec, spec, servable)
    _fill_classification(response.result, task, outputs, len(examples))
    return response


def regress(
    servable: Servable,
    request: regression_pb2.RegressionRequest,
    *,
    check_method: bool = False,
    timeout_ms: int = 0,
) -> regression_pb2.RegressionResponse:
    """One float per example; raises `StatusError` as the stock server does."""
    spec = request.model_spec
    task = _regress_task(_signature(servable, spec), check_method=check_method)
    examples = _examples(request.input)
    outputs = _run(servable, [task], examples, api="Regress", timeout_ms=timeout_ms)
    response = regression_pb2.RegressionResponse()
    _fill_spec(response.model_spec, spec, servable)
    _fill_regression(response.result, task, outputs, len(examples))
    return response


def multi_inference(
    servable: Servable,
    request: inference_pb2.MultiInferenceRequest,
    *,
    check_method: bool = False,
) -> inference_pb2.MultiInferenceResponse:
    """Several classify and regress signatures of one model over the same examples, in one run.

    The servable is the first task's; other tasks' versions are ignored, as the stock server does.
    """
    tasks: dict[str, _Task] = {}
    for task in request.tasks:
        name = _checked_name(task.model_spec, request.tasks[0].model_spec.name, tasks)
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY_METHOD:
            tasks[name] = _classify_task(signature, check_method=check_method)
        elif task.method_name == REGRESS_METHOD:
            tasks[name] = _regress_task(signature, check_method=check_method)
        else:
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
    examples = _examples(request.input)
    # No API: the stock server does not time it.
    outputs = _run(servable, list(tasks.values()), examples, api="")
    servable.metrics.examples(servable.model, len(examples))
    response = inference_pb2.MultiInferenceResponse()
    for task, ready in zip(request.tasks, tasks.values(), strict=True):
        result = response.results.add()
        if task.method_name == CLASSIFY_METHOD:
            _fill_classification(result.classification_result, ready, outputs, len(examples))
        else:
            _fill_regression(result.regression_result, ready, outputs, len(examples))
        _fill_spec(result.model_spec, task.model_spec, servable)
    return response


def _checked_name(spec: Any, model: str, seen: dict[str, _Task]) -> str:
    if not spec.name:
        raise invalid_argument("Found ModelSpec with an empty model name.")
    if spec.name != model:
        raise invalid_argument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )
    name: str = spec.signature_name or DEFAULT_SIGNATURE
    if name in seen:
        raise invalid_argument(f"Duplicate evaluation of signature: {name}")
    return name


def _signature(servable: Servable, spec: Any) -> SignatureDef:
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return servable.signatures[name]


def _classify_task(signature: SignatureDef, *, check_method: bool) -> _Task:
    if check_method and signature.method_name != CLASSIFY_METHOD:
        raise invalid_argument(
            f"Expected classification signature method_name to be {CLASSIFY_METHOD}."
            f" Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if _INPUT not in signature.inputs:
        raise invalid_argument(
            f"No classification inputs found in SignatureDef: {_debug_string(signature)}"
        )
    fetches = {n: signature.outputs[n].name for n in (_CLASSES, _SCORES) if n in signature.outputs}
    if not fetches:
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of"
            f' "classes" or "scores". Signature was: {_debug_string(signature)}'
        )
    return _Task(signature.inputs[_INPUT].name, fetches)


def _regress_task(signature: SignatureDef, *, check_method: bool) -> _Task:
    if check_method and signature.method_name != REGRESS_METHOD:
        raise invalid_argument(
            f"Expected regression signature method_name to be {REGRESS_METHOD}."
            f" Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUT not in signature.inputs:
        raise invalid_argument(
            f"No regression inputs found in SignatureDef: {_debug_string(signature)}"
        )
    if _VALUES not in signature.outputs:
        raise invalid_argument(
            f"No regression outputs found in SignatureDef: {_debug_string(signature)}"
        )
    return _Task(signature.inputs[_INPUT].name, {_VALUES: signature.outputs[_VALUES].name})


def _examples(source: input_pb2.Input) -> Array:
    """Serialized examples [n]; a context goes before each example, which wins on a clash."""
    kind = source.WhichOneof("kind")
    if kind == "example_list_with_context":
        context = source.example_list_with_context.context.SerializeToString()
        examples = source.example_list_with_context.examples
    else:
        context, examples = b"", source.example_list.examples
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), np.object_)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _run(
    servable: Servable, tasks: list[_Task], examples: Array, *, api: str, timeout_ms: int = 0
) -> dict[str, tuple[Any, int]]:
    """Results by tensor name: (value, `DataType`)."""
    feeds: dict[str, tuple[str, Array | int]] = {t.feed: (t.feed, examples) for t in tasks}
    fetches = {name: name for task in tasks for name in task.fetches.values()}
    return servable.run(feeds, fetches, api=api, timeout_ms=timeout_ms)


def _fill_spec(answer: Any, asked: Any, servable: Servable) -> None:
    answer.name = asked.name
    answer.version.value = servable.version
    answer.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _fill_classification(
    result: classification_pb2.ClassificationResult,
    task: _Task,
    outputs: dict[str, tuple[Any, int]],
    count: int,
) -> None:
    dtypes = {_CLASSES: types_pb2.DT_STRING, _SCORES: types_pb2.DT_FLOAT}
    columns: dict[str, Array] = {}
    for name, tensor in task.fetches.items():
        value, dtype = outputs[tensor]
        array = np.asarray(value)
        if array.ndim != 2:
            raise invalid_argument(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if dtype != dtypes[name]:
            raise invalid_argument(
                f"Expected {name} Tensor of {types_pb2.DataType.Name(dtypes[name])}."
                f" Got: {types_pb2.DataType.Name(dtype)}"
            )
        if array.shape[0] != count:
            raise invalid_argument(
                f"Expected {name} output batch size of {count}. Got: {array.shape[0]}"
            )
        columns[name] = array
    widths = [array.shape[1] for array in columns.values()]
    if len(set(widths)) > 1:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}"
        )
    for row in range(count):
        classes = result.classifications.add().classes
        for column in range(widths[0]):
            entry = classes.add()
            if _CLASSES in columns:
                entry.label = columns[_CLASSES][row, column].decode("utf-8", "replace")
            if _SCORES in columns:
                entry.score = columns[_SCORES][row, column]


def _fill_regression(
    result: regression_pb2.RegressionResult,
    task: _Task,
    outputs: dict[str, tuple[Any, int]],
    count: int,
) -> None:
    value, dtype = outputs[task.fetches[_VALUES]]
    array = np.asarray(value)
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {_shape(array)}"
        )
    if array.shape[0] != count:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}"
        )
    if dtype != types_pb2.DT_FLOAT:
        raise invalid_argument(
            f"Expected output Tensor of DT_FLOAT.  Got: {types_pb2.DataType.Name(dtype)}"
        )
    for number in array.reshape(-1).tolist():
        result.regressions.add().value = number


def _shape(array: Array) -> str:
    return "[" + ",".join(str(size) for size in array.shape) + "]"


def _debug_string(signature: SignatureDef) -> str:
    text: str = text_format.MessageToString(signature)
    return text
