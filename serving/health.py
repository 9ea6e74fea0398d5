"""`grpc.health.v1` and server reflection, by the gRPC project's own services."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

# The stock server answers for these, and not for the services' full names.
_NAMES = ("", "ModelService", "PredictionService")
_SERVICES = (
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name,
)


class Health:
    """The health service of one server; SERVING until it drains."""

    def __init__(self, server: grpc.Server) -> None:
        """Adds the service."""
        self._servicer = health.HealthServicer()
        for name in _NAMES:
            self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def stop(self) -> None:
        """NOT_SERVING from now on, so that a balancer sends no more requests."""
        self._servicer.enter_graceful_shutdown()


def enable_reflection(server: grpc.Server) -> None:
    """Lets `grpcurl` and the like list the services and their messages."""
    reflection.enable_server_reflection((*_SERVICES, reflection.SERVICE_NAME), server)
