"""`RestApi`: the REST front end without its HTTP server; paths to calls, errors to statuses.

`GET /v1/models/M[/versions/N|/labels/L][/metadata]` and `POST ...:predict|:classify|:regress`.
It answers from the same registry and code as gRPC; only the error texts here are never cut.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.access.access_log import Record
from serving.access.limits import Limits, rows
from serving.inference import examples
from serving.inference.predict import DEFAULT_SIGNATURE, predict
from serving.metrics import Metrics
from serving.rest import example_body, predict_body
from serving.rest.json_parser import parse_object
from serving.rest.json_writer import PrettyWriter, debug_string
from serving.rest.message_json import message_json
from serving.rpc.prediction_service import SIGNATURE_DEF, metadata
from serving.runtime.servable import Servable
from serving.status import StatusError, invalid_argument
from serving.versions.model_registry import ModelRegistry

_MODEL = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_MODEL}:(?P<verb>classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_MODEL}(?:/(?P<metadata>metadata))?",
    re.IGNORECASE | re.ASCII,
)
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_INT64_DIGITS = 19
_WEB = re.compile("https?://")
_NO_ORIGIN = StatusError(
    grpc.StatusCode.FAILED_PRECONDITION, "Origin header is missing in CORS preflight"
)
_UNTYPED = "text/html; charset=ISO-8859-1"  # libevent's, where nobody names a type


class _NoSuchNumber(StatusError):
    """A version beyond int64; the stock server answers 400 without a body."""


class Answer(NamedTuple):
    """Status, body, content type."""

    status: int
    body: str
    content_type: str = "application/json"


class RestApi:
    """Answers one request after another, whatever carries them."""

    def __init__(
        self,
        registry: ModelRegistry,
        metrics: Metrics,
        *,
        timeout_ms: int,
        check_method: bool,
        limits: Limits | None = None,
    ) -> None:
        """Args: models; what is counted; limit of a graph's run (0: none); checks; limits."""
        self._registry = registry
        self._metrics = metrics
        self._timeout_ms = timeout_ms
        self._check_method = check_method
        self._limits = limits or Limits()
        self._verbs: dict[str, Callable[[model_pb2.ModelSpec, bytes, Record], str]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    def answer(self, method: str, path: str, body: bytes, record: Record | None = None) -> Answer:
        """The answer to a request, refused or not.

        Args:
            method: of HTTP.
            path: with query and fragment, percent-encoded.
            body: unpacked.
            record: to fill for the access log.
        """
        try:
            text = self._dispatch(method, path, body, record or Record())
            return Answer(HTTPStatus.OK, text)
        except _NoSuchNumber:
            return Answer(HTTPStatus.BAD_REQUEST, "")
        except StatusError as error:
            return failure(error)

    def preflight(self, origin: str) -> Answer:
        """The answer to OPTIONS: whether a page of that origin may ask."""
        try:
            with self._metrics.request("", "", "REST"):
                if not _WEB.search(origin):
                    raise _NO_ORIGIN
        except StatusError as error:
            return failure(error)._replace(body="", content_type=_UNTYPED)
        return Answer(HTTPStatus.OK, "", _UNTYPED)

    def _dispatch(self, method: str, path: str, body: bytes, record: Record) -> str:
        pattern = {"POST": _POST, "GET": _GET}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        name = urllib.parse.unquote(match["name"] or "") if match else ""
        verb = match["verb"] if match and method == "POST" else ""
        malformed = invalid_argument(f"Malformed request: {method} {path}")
        with self._metrics.request(name, verb, "REST"):
            if match is None:
                raise malformed
            record.spec = spec = _spec(match)
            if method == "GET":
                return self._told(spec, record, of_metadata=match["metadata"] == "metadata")
            if verb not in self._verbs:  # in capitals, in which the rest of a path may be
                raise malformed
            record.method = verb.capitalize()
            with self._limits.slot():
                return self._verbs[verb](spec, body, record)

    def _told(self, spec: model_pb2.ModelSpec, record: Record, *, of_metadata: bool) -> str:
        record.method = "GetModelMetadata" if of_metadata else "GetModelStatus"
        if not spec.name:
            raise invalid_argument("Missing model name in request.")
        if of_metadata:
            return self._metadata(spec, record)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return message_json(self._registry.status(request))

    def _metadata(self, spec: model_pb2.ModelSpec, record: Record) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[SIGNATURE_DEF]
        )
        response = metadata(self._registry, request)
        record.version = response.model_spec.version.value
        return _metadata_json(response)

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes, record: Record) -> str:
        document = parse_object(body)
        spec.signature_name = _signature_name(document)
        name = spec.signature_name or DEFAULT_SIGNATURE
        with self._registry.lease(spec) as servable:
            if name not in servable.signatures:
                raise invalid_argument(
                    f'Serving signature name: "{name}" not found in signature def'
                )
            inputs = servable.signatures[name].inputs
            if not inputs:
                raise invalid_argument(
                    f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}"
                )
            request = predict_pb2.PredictRequest(model_spec=spec)
            in_rows = predict_body.fill_request(request, document, inputs)
            self._admit(request, servable, record)
            response = predict(
                servable, request, check_method=self._check_method, timeout_ms=self._timeout_ms
            )
        return predict_body.response_json(response, rows=in_rows)

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes, record: Record) -> str:
        request = classification_pb2.ClassificationRequest
        result = self._over_examples(request, examples.classify, spec, body, record)
        return example_body.classification_json(result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes, record: Record) -> str:
        request = regression_pb2.RegressionRequest
        result = self._over_examples(request, examples.regress, spec, body, record)
        return example_body.regression_json(result)

    def _over_examples(
        self, kind: Any, method: Any, spec: model_pb2.ModelSpec, body: bytes, record: Record
    ) -> Any:
        """The result of a method over examples, which takes requests of a kind."""
        document = parse_object(body)
        spec.signature_name = _signature_name(document)
        request = kind(model_spec=spec)
        example_body.fill_input(request.input, document)
        with self._registry.lease(spec) as servable:
            self._admit(request, servable, record)
            return method(
                servable, request, check_method=self._check_method, timeout_ms=self._timeout_ms
            ).result

    def _admit(self, request: Any, servable: Servable, record: Record) -> None:
        """Records what is asked of which version; raises where it is too much."""
        record.rows = rows(request)
        record.version = servable.version
        self._limits.check_rows(request)


def failure(error: StatusError) -> Answer:
    """The answer that an error becomes."""
    return Answer(_HTTP.get(error.code, 500), _error_json(error.message))


def _spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"] or ""))
    if match["version"]:
        digits = match["version"].lstrip("0") or "0"
        # Python refuses to convert thousands of them.
        if len(digits) > _INT64_DIGITS or int(digits) >= 2**63:
            raise _NoSuchNumber(grpc.StatusCode.INVALID_ARGUMENT, "")
        spec.version.value = int(digits)
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


def _signature_name(document: Mapping[str, Any]) -> str:
    """The body's `signature_name`; empty where it has none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} not formatted correctly."
            " 'signature_name' key must be a string value."
        )
    # Bytes that are no UTF-8 arrive as lone surrogates, which no message can hold.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _metadata_json(response: get_model_metadata_pb2.GetModelMetadataResponse) -> str:
    """The body of a model's metadata."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    return (
        f'{{\n"model_spec":{message_json(response.model_spec)},\n'
        f'"metadata": {{"signature_def": {message_json(signatures)}}}\n}}\n'
    )


def _error_json(message: str) -> str:
    """The body of every failure."""
    writer = PrettyWriter()
    writer.value({"error": message})
    return writer.text()
