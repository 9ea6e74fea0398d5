"""Limits on bytes, rows and concurrency of inference, answered with RESOURCE_EXHAUSTED.

One `Limits` serves gRPC and REST, so that the concurrency is that of the server. Only inference is
limited: health, status and metadata are answered however busy the server is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from serving.rpc.answering import abort, with_behavior
from serving.status import StatusError

INFERENCE = frozenset(
    f"/tensorflow.serving.PredictionService/{name}"
    for name in ("Predict", "Classify", "Regress", "MultiInference")
)
SPARE_THREADS = 4
"""Threads beyond the concurrency limit: they refuse what is too much and answer the rest."""


class Limits:
    """What one server takes on; 0 stands for no limit.

    Attributes:
        message_bytes: of one request, unpacked.
        rows: of one request.
        concurrent: inference requests in progress.
    """

    def __init__(self, *, message_bytes: int = 0, rows: int = 0, concurrent: int = 0) -> None:
        """Keeps the limits; a negative one counts as none."""
        self.message_bytes = max(message_bytes, 0)
        self.rows = max(rows, 0)
        self.concurrent = max(concurrent, 0)
        self._slots = threading.Semaphore(self.concurrent)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Holds one of the places for requests in progress; raises where all are taken."""
        if not self.concurrent:
            yield
            return
        if not self._slots.acquire(blocking=False):
            raise _exhausted(
                f"{self.concurrent} requests are in progress, and no more are taken at a time"
            )
        try:
            yield
        finally:
            self._slots.release()

    def check_rows(self, request: Any) -> None:
        """Raises where a request message has too many rows."""
        count = rows(request)
        if self.rows and count is not None and count > self.rows:
            raise _exhausted(f"The request has {count} rows, and at most {self.rows} are taken")

    def check_bytes(self, size: int) -> None:
        """Raises where a body of `size` bytes is too large."""
        if self.message_bytes and size > self.message_bytes:
            raise _exhausted(
                f"The request is larger than the {self.message_bytes} bytes that are taken"
            )


def rows(request: Any) -> int | None:
    """Rows of an inference request, from its shapes alone; None for any other message.

    For Predict the largest first dimension of an input, 1 where every input is a scalar; for the
    others the number of examples.
    """
    fields = getattr(type(request), "DESCRIPTOR", None)
    names = fields.fields_by_name if fields is not None else ()
    if "inputs" in names:
        shapes = (tensor.tensor_shape.dim for tensor in request.inputs.values())
        return max((dims[0].size for dims in shapes if dims), default=1)
    if "input" in names:
        kind = request.input.WhichOneof("kind")
        return len(getattr(request.input, kind).examples) if kind else 0
    return None


class LimitsInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Applies rows and concurrency to inference over gRPC; gRPC itself checks the bytes."""

    def __init__(self, limits: Limits) -> None:
        """Args: the limits of the server."""
        self._limits = limits

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The RPC's handler inside the limits."""
        handler = continuation(details)
        if handler is None or details.method not in INFERENCE:
            return handler
        return with_behavior(handler, functools.partial(self._limited, handler.unary_unary))

    def _limited(self, inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        try:
            self._limits.check_rows(request)
            with self._limits.slot():
                return inner(request, context)
        except StatusError as error:
            return abort(context, error)


def _exhausted(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, message + ".")
