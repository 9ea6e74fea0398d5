"""InfraValidator on Debut's embedded server: TFX itself knows Docker and Kubernetes only.

The candidate is started in a process of its own with the flags of `tensorflow_model_server`, and
asked with TFX's own client. Blessing, retries, warm-up file and Pusher's input stay TFX's.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

from tfx import types
from tfx.components import InfraValidator
from tfx.components.infra_validator import executor, serving_bins
from tfx.components.infra_validator.types import Request
from tfx.dsl.components.base import executor_spec
from tfx.proto import infra_validator_pb2
from tfx.utils.model_paths import tf_serving_flavor

from components.artifacts import Artifacts
from components.embedded_server import embedded_server
from components.warmup import signature_requests

_POLL_SECONDS: Final = 0.2


class Executor(executor.Executor):
    """The stock executor with the embedded server as its platform."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Run the stock executor, which leaves its SIGTERM handler behind, and take it away."""
        before = signal.getsignal(signal.SIGTERM)
        try:
            super().Do(input_dict, output_dict, exec_properties)
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)

    def _ValidateOnce(
        self,
        model_path: str,
        serving_binary: serving_bins.ServingBinary,
        serving_spec: infra_validator_pb2.ServingSpec,
        validation_spec: infra_validator_pb2.ValidationSpec,
        requests: list[Request],
    ) -> None:
        deadline = time.time() + validation_spec.max_loading_time_seconds
        base_path = Path(tf_serving_flavor.parse_model_base_path(model_path))
        name = serving_spec.model_name
        with embedded_server(base_path / name, name) as server:
            client = serving_binary.MakeClient(server.address(deadline=deadline))
            client.WaitUntilModelLoaded(deadline, polling_interval_sec=_POLL_SECONDS)
            client.SendRequests(_with_others(requests))

    def _CreateWarmupModel(
        self, blessing: types.Artifact, model_path: str, warmup_requests: list[Request]
    ) -> None:
        # Each is replayed before a version answers, and one of a kind compiles what there is to.
        super()._CreateWarmupModel(blessing, model_path, _with_others(warmup_requests[:1]))


class EmbeddedInfraValidator(InfraValidator):
    """The stock component with the executor above.

    Its `serving_spec` must carry one TensorFlow Serving tag: without any, TFX blesses every model
    unseen. The tag names the version whose client protocol is spoken; no image is pulled.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def _with_others(requests: list[Request]) -> list[Request]:
    """TFX's requests, and some to other signatures, made from the first Example among them.

    There are none where a model is only to be loaded: it replays those beside it.
    """
    if not requests:
        return []
    examples = requests[0].inputs["examples"].string_val
    return [*requests, *signature_requests(examples[0], requests[0].model_spec.name)]
