"""`grpc.health.v1` and server reflection, on threads of their own.

A probe must be answered while every request thread is busy, and a reflection stream that a client
leaves open must not take a request's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

HEALTH_SERVICE: str = health.SERVICE_NAME
NAMES = ("", "ModelService", "PredictionService")
"""The names the stock server knows: not the full names of its services."""

_HEALTH_POOL = futures.ThreadPoolExecutor(2, "grpc-health")
_REFLECTION_POOL = futures.ThreadPoolExecutor(2, "grpc-reflection")
_REFLECTION_SECONDS = 60.0
# The stubs for gRPC do not load these modules, and reflection describes only what is loaded.
_SERVICES: tuple[str, ...] = tuple(
    service.full_name
    for module in (model_service_pb2, prediction_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


class HealthService(health.HealthServicer):
    """Says SERVING under each of `NAMES`, and NOT_SERVING once the server drains."""

    def __init__(self) -> None:
        """Starts in SERVING: the ports open only when the models are available."""
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=_HEALTH_POOL)
        self._watchers: list[Callable[[Any], None]] = []
        self._watching = threading.Lock()
        for name in NAMES:
            self.set(name, health_pb2.HealthCheckResponse.SERVING)

    def add_to(self, server: grpc.Server) -> None:
        """Registers the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self, server)

    def Check(self, request: Any, context: Any) -> Any:
        """The state under a name; NOT_FOUND for any other."""
        response = super().Check(request, context)
        if context.code() is grpc.StatusCode.NOT_FOUND:
            context.set_details("service name unknown")
        return response

    Check.experimental_thread_pool = _HEALTH_POOL  # type: ignore[attr-defined]

    def Watch(self, request: Any, context: Any, send_response_callback: Any = None) -> Any:
        """A stream of a name's states, from the present one on."""
        with self._watching:
            self._watchers.append(send_response_callback)
        context.add_callback(lambda: self._forget(send_response_callback))
        return super().Watch(request, context, send_response_callback)

    def drain(self) -> None:
        """Tells every watcher NOT_SERVING and ends its stream.

        A stream left open would hold the server's stop up for the whole of its grace.
        """
        self.enter_graceful_shutdown()
        with self._watching:
            watchers = tuple(self._watchers)
        for send in watchers:
            send(None)

    def _forget(self, watcher: Callable[[Any], None]) -> None:
        with self._watching:
            self._watchers.remove(watcher)


class Reflection(reflection.ReflectionServicer):
    """Describes services, on streams that end after a minute, or once the server drains.

    An idle stream holds one of two threads, and would hold the server's stop up as a watcher would.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """Args: full names of the services."""
        super().__init__(services)
        self._streams: list[Any] = []
        self._changing = threading.Lock()
        self._draining = False

    def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> Any:
        """An answer to each request of a stream."""
        responses: Any = super().ServerReflectionInfo
        with self._bounded(context):
            yield from responses(request_iterator, context)

    ServerReflectionInfo.experimental_thread_pool = _REFLECTION_POOL  # type: ignore[attr-defined]

    def drain(self) -> None:
        """Ends every stream."""
        with self._changing:
            self._draining = True
            streams = tuple(self._streams)
        for context in streams:
            context.cancel()

    @contextmanager
    def _bounded(self, context: Any) -> Iterator[None]:
        timer = threading.Timer(_REFLECTION_SECONDS, context.cancel)
        timer.daemon = True
        with self._changing:
            self._streams.append(context)
            if self._draining:
                context.cancel()
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._changing:
                self._streams.remove(context)


def add_reflection(server: grpc.Server, *, with_health: bool) -> Reflection:
    """Registers reflection of the services that the server has."""
    names = (*_SERVICES, reflection.SERVICE_NAME, *((HEALTH_SERVICE,) if with_health else ()))
    service = Reflection(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(service, server)
    return service
