"""`answers`: turns a handler that raises `StatusError` into a gRPC method.

No other failure may reach gRPC either: it would answer UNKNOWN with the text of a Python exception.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import grpc

from serving.status import StatusError, cut_for_grpc

_log = logging.getLogger(__name__)


def answers(method: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Wraps `method(self, request, context)`; errors become status code and cut message."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except StatusError as error:
            code, message = error.code, error.message
        except MemoryError:
            code, message = grpc.StatusCode.RESOURCE_EXHAUSTED, "The server is out of memory."
        except Exception:
            _log.exception("%s failed", method.__name__)
            code, message = grpc.StatusCode.INTERNAL, "Internal error; the server's log says more."
        context.abort(code, cut_for_grpc(message))

    return call


def abort(context: Any, error: StatusError) -> Any:
    """Ends an RPC with an error, from outside of its handler."""
    context.abort(error.code, cut_for_grpc(error.message))


def with_behavior(handler: Any, behavior: Callable[[Any, Any], Any]) -> Any:
    """The unary handler with another behaviour, for an interceptor that wraps it."""
    return grpc.unary_unary_rpc_method_handler(
        behavior,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
