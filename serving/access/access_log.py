"""The access log: one JSON object a line per call, without anything personal in it.

Never written: inputs, outputs, error texts, paths, headers, addresses. Names of models and
signatures are, and as those of a refused request may be anything a client typed, only names that
the server knows.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import grpc
from tensorflow_serving.apis import model_pb2

from serving.access.limits import rows
from serving.inference.predict import DEFAULT_SIGNATURE
from serving.rpc.answering import with_behavior
from serving.status import StatusError
from serving.versions.model_registry import ModelRegistry

_PREFIX = "/tensorflow.serving."
_INFERENCE = ("Predict", "Classify", "Regress", "MultiInference")
_log = logging.getLogger(__name__)


@dataclass
class Record:
    """What is learnt of a call on its way.

    Attributes:
        method: RPC name, in REST that of the RPC with the same meaning; empty for none.
        spec: the model asked for.
        version: the version that answered.
        rows: of the request.
    """

    method: str = ""
    spec: model_pb2.ModelSpec | None = None
    version: int | None = None
    rows: int | None = None


class AccessLog:
    """Appends to one file. A line is one write, so that a crash or a second writer cuts none."""

    def __init__(self, path: str, registry: ModelRegistry) -> None:
        """Opens the file, and ends a line that a crash of the machine left without its end.

        Args:
            path: file to append to; it is made where there is none.
            registry: says which names are known.

        Raises:
            OSError: the file can't be opened.
        """
        self._registry = registry
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def write(
        self,
        record: Record,
        *,
        transport: str,
        code: str,
        seconds: float,
        request_bytes: int,
        response_bytes: int,
    ) -> None:
        """Appends a call.

        Args:
            record: what was learnt of it.
            transport: `grpc` or `rest`.
            code: gRPC status name, or HTTP status.
            seconds: it took, from the parsed request to the answer.
            request_bytes: size of the message or body that came.
            response_bytes: size of the one that goes; 0 for an error over gRPC.
        """
        model, version, signature = self._names(record, answered=code in ("OK", "200"))
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "transport": transport,
            "method": record.method or None,
            "signature": signature,
            "model": model,
            "version": version,
            "code": code,
            "milliseconds": round(seconds * 1e3, 3),
            "rows": record.rows,
            "request_bytes": request_bytes,
            "response_bytes": response_bytes,
        }
        try:
            os.write(self._file, json.dumps(line).encode() + b"\n")
        except OSError as error:  # a full disk is no reason to refuse requests
            _log.error("Can't write %s: %s", self._path, error.strerror)

    def _names(
        self, record: Record, *, answered: bool
    ) -> tuple[str | None, int | None, str | None]:
        spec = record.spec
        if spec is None:
            return None, None, None
        signature = spec.signature_name or DEFAULT_SIGNATURE
        inference = record.method in _INFERENCE
        if answered:
            return spec.name, record.version, signature if inference else None
        try:
            with self._registry.lease(spec) as servable:
                known = inference and signature in servable.signatures
                return servable.model, servable.version, signature if known else None
        except StatusError:
            return (spec.name if self._is_known(spec.name) else None), None, None

    def _is_known(self, name: str) -> bool:
        try:
            return bool(self._registry.states(model_pb2.ModelSpec(name=name)))
        except StatusError:
            return False


class AccessLogInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Logs the RPCs of PredictionService and ModelService, refused ones included."""

    def __init__(self, log: AccessLog) -> None:
        """Args: where to."""
        self._log = log

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The RPC's handler, which writes a line after it."""
        handler = continuation(details)
        if handler is None or not details.method.startswith(_PREFIX):
            return handler
        method = details.method.rpartition("/")[2]
        return with_behavior(handler, functools.partial(self._logged, handler.unary_unary, method))

    def _logged(
        self, inner: Callable[[Any, Any], Any], method: str, request: Any, context: Any
    ) -> Any:
        started = time.perf_counter()
        response = None
        try:
            response = inner(request, context)
            return response
        finally:
            self._log.write(
                _record(method, request, response),
                transport="grpc",
                code=_code(context, answered=response is not None),
                seconds=time.perf_counter() - started,
                request_bytes=_size(request),
                response_bytes=0 if response is None else _size(response),
            )


def _record(method: str, request: Any, response: Any) -> Record:
    if isinstance(request, bytes):  # refused before it was parsed
        return Record(method)
    answered = _spec(response)
    return Record(
        method,
        spec=_spec(request),
        version=answered.version.value if answered is not None else None,
        rows=rows(request),
    )


def _spec(message: Any) -> model_pb2.ModelSpec | None:
    """The message's ModelSpec; of MultiInference the first task's."""
    parts = getattr(message, "tasks", None) or getattr(message, "results", None)
    return getattr(parts[0] if parts else message, "model_spec", None)


def _code(context: Any, *, answered: bool) -> str:
    if answered:
        return "OK" if context.is_active() else "CANCELLED"  # the client had gone
    code = context.code()
    return code.name if code is not None else "UNKNOWN"


def _size(message: Any) -> int:
    size: int = len(message) if isinstance(message, bytes) else message.ByteSize()
    return size
