"""`ModelService` over gRPC: GetModelStatus and HandleReloadConfigRequest."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from serving.metrics import Metrics
from serving.rpc.answering import answers
from serving.versions.model_registry import ModelRegistry


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """The stock service."""

    def __init__(self, registry: ModelRegistry, metrics: Metrics) -> None:
        """Args: where the models are; what a reload may be asked about."""
        self._registry = registry
        self._metrics = metrics

    @answers
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: Any
    ) -> Any:
        """States of a model's versions, newest first."""
        return self._registry.status(request)

    @answers
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: Any
    ) -> Any:
        """Supersedes the configuration; answers when the models new in it are available."""
        before = {name: self._metrics.first_count(name) for name in request.metric_names}
        self._registry.reload(request.config, keep_waiting=context.is_active)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name, count in before.items():
            risen = self._metrics.first_count(name) - count
            response.metric.add(name=name, int64_value_increase=risen)
        return response
