"""Predict: request checks, run, and answer, over one servable.

The checks come in the stock server's order, because a request with two faults must get the same
one of them reported. Shapes are not checked here nor anywhere: the graph's ops do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import predict_pb2

from serving.runtime.servable import Array, Servable
from serving.runtime.tensors import ARRAYLESS, TensorError, check_arrayless, fill_proto, to_array
from serving.status import StatusError, invalid_argument

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)


def predict(
    servable: Servable,
    request: predict_pb2.PredictRequest,
    *,
    check_method: bool = False,
    timeout_ms: int = 0,
) -> predict_pb2.PredictResponse:
    """Answers one Predict.

    Args:
        servable: the version that answers.
        request: model_spec (only its name and signature_name are read), inputs, output_filter.
        check_method: refuse signatures whose method name is none of the three known ones.
        timeout_ms: the runtime gives up after this; 0 for never.

    Raises:
        StatusError: code and text of the stock server.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
        )
    if check_method and signature.method_name not in _METHODS:
        raise StatusError(
            grpc.StatusCode.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}."
            f" Was: {signature.method_name}",
        )
    _check_input_count(signature, request.inputs)
    feeds = _feeds(signature, request.inputs)
    fetches = _fetches(signature, request.output_filter)
    outputs = servable.run(feeds, fetches, api="Predict", timeout_ms=timeout_ms)
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name = request.model_spec.name
    spec.version.value = servable.version
    spec.signature_name = name
    for alias, (value, dtype) in outputs.items():
        try:
            fill_proto(response.outputs[alias], value, dtype)
        except TensorError as error:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"{alias}: {error}") from error
    return response


def _check_input_count(signature: SignatureDef, inputs: Mapping[str, Any]) -> None:
    sent, wanted = len(inputs), len(signature.inputs)
    if sent == wanted or (sent < wanted and signature.defaults):
        return
    given, required = set(inputs), set(signature.inputs)
    raise invalid_argument(
        f"input size does not match signature: {sent}!={wanted}"
        f" len({_braced(given)}) != len({_braced(required)})."
        f" Sent extra: {_braced(given - required)}."
        f" Missing but required: {_braced(required - given)}."
    )


def _feeds(
    signature: SignatureDef, inputs: Mapping[str, Any]
) -> dict[str, tuple[str, Array | int]]:
    feeds: dict[str, tuple[str, Array | int]] = {}
    used = []
    for alias in sorted(signature.inputs):
        if alias in inputs:
            proto = inputs[alias]
            used.append(alias)
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not"
                " found in request and no default value provided. Inputs expected to be in the"
                f" request {_braced(inputs)}, or default input alias set:"
                f" {','.join(sorted(signature.defaults))}"
            )
        feeds[alias] = (signature.inputs[alias].name, _array(alias, proto))
    if len(used) != len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {','.join(used)},"
            f" request input: {','.join(sorted(inputs))}"
        )
    return feeds


def _array(alias: str, proto: Any) -> Array | int:
    try:
        if proto.dtype in ARRAYLESS:
            check_arrayless(proto)
            dtype: int = proto.dtype
            return dtype
        return to_array(proto)
    except TensorError as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error


def _fetches(signature: SignatureDef, output_filter: Iterable[str]) -> dict[str, str]:
    fetches: dict[str, str] = {}
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias}"
                f" Outputs expected to be in the set {_braced(signature.outputs)}."
            )
        if alias in fetches:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        fetches[alias] = signature.outputs[alias].name
    return fetches or {alias: info.name for alias, info in signature.outputs.items()}


def _braced(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
