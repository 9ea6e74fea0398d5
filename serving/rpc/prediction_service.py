"""`PredictionService` over gRPC: Predict, Classify, Regress, MultiInference, GetModelMetadata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.inference import examples
from serving.inference.predict import predict
from serving.metrics import Metrics
from serving.rpc.answering import answers
from serving.runtime.servable import Servable
from serving.status import invalid_argument
from serving.versions.model_registry import ModelRegistry

SIGNATURE_DEF = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The stock service. PredictStreamed stays UNIMPLEMENTED, as in the stock server."""

    def __init__(self, registry: ModelRegistry, metrics: Metrics, *, check_method: bool) -> None:
        """Args: the models; what is counted; whether signatures' method names are checked."""
        self._registry = registry
        self._metrics = metrics
        self._check_method = check_method

    @answers
    def Predict(self, request: predict_pb2.PredictRequest, context: Any) -> Any:
        """Named tensors in, named tensors out."""
        with self._counted(request, "Predict") as servable:
            return predict(servable, request, check_method=self._check_method)

    @answers
    def Classify(self, request: classification_pb2.ClassificationRequest, context: Any) -> Any:
        """Examples in, labels and scores out."""
        with self._counted(request, "Classify") as servable:
            return examples.classify(servable, request, check_method=self._check_method)

    @answers
    def Regress(self, request: regression_pb2.RegressionRequest, context: Any) -> Any:
        """Examples in, one float each out."""
        with self._counted(request, "Regress") as servable:
            return examples.regress(servable, request, check_method=self._check_method)

    @answers
    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: Any) -> Any:
        """Several signatures over the same examples; the first task names the version."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self._registry.lease(spec) as servable:
            return examples.multi_inference(servable, request, check_method=self._check_method)

    @answers
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Any
    ) -> Any:
        """The signatures of one version."""
        return metadata(self._registry, request)

    @contextmanager
    def _counted(self, request: Any, api: str) -> Iterator[Servable]:
        name = request.model_spec.name
        with (
            self._metrics.request(name, api, "GRPC"),
            self._registry.lease(model_spec(request)) as servable,
        ):
            yield servable


def model_spec(request: Any) -> model_pb2.ModelSpec:
    """The request's ModelSpec; raises `StatusError` where it has none."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def metadata(
    registry: ModelRegistry, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """GetModelMetadata, as gRPC and REST both answer it; `signature_def` is the only field."""
    spec = model_spec(request)
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with registry.lease(spec) as servable:
        response.model_spec.name = servable.model
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response
