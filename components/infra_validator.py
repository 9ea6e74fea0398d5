"""InfraValidator on Debut's embedded server: TFX itself knows Docker and Kubernetes only.

The candidate is started in a process of its own with the flags of `tensorflow_model_server`, and
asked with TFX's own client. Blessing, retries, warm-up file and Pusher's input stay TFX's.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from tfx import types
from tfx.components import InfraValidator
from tfx.components.infra_validator import error_types, executor, serving_bins
from tfx.components.infra_validator.model_server_runners import base_runner
from tfx.components.infra_validator.types import Request
from tfx.dsl.components.base import executor_spec
from tfx.proto import infra_validator_pb2
from tfx.utils.model_paths import tf_serving_flavor

from components.warmup import signature_requests
from serving.ports import free_port

_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.2


class EmbeddedServerRunner(base_runner.BaseModelServerRunner):
    """The embedded model server as a child process on a free local port."""

    def __init__(self, base_path: Path, model_name: str) -> None:
        self._base_path = base_path
        self._model_name = model_name
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedServerRunner(base_path={self._base_path})"

    def GetEndpoint(self) -> str:
        """Address of the server's gRPC port."""
        return f"localhost:{self._port}"

    def Start(self) -> None:
        """Start the server; it is not ready when this returns."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by Stop
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.main",
                f"--port={self._port}",
                f"--model_name={self._model_name}",
                f"--model_base_path={self._base_path}",
                # A load that failed once fails again, and would be tried until the deadline.
                "--max_num_load_retries=0",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def WaitUntilRunning(self, deadline: float) -> None:
        """Wait until the port is open, at most until the unix time `deadline`."""
        while time.time() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise error_types.JobAborted(f"The server ended at once: {self.GetLogs()}")
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", self._port)) == 0:
                    return
            time.sleep(_POLL_SECONDS)
        raise error_types.DeadlineExceeded("The server did not open its port in time.")

    def GetLogs(self) -> str | None:
        """What the server has printed so far."""
        if self._log is None:
            return None
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def Stop(self) -> None:
        """End the server and drop its log."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()


class Executor(executor.Executor):
    """The stock executor with the embedded server as its platform."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
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
        runner = EmbeddedServerRunner(base_path / serving_spec.model_name, serving_spec.model_name)
        runner.Start()
        try:
            runner.WaitUntilRunning(deadline)
            client = serving_binary.MakeClient(runner.GetEndpoint())
            client.WaitUntilModelLoaded(deadline, polling_interval_sec=1)
            client.SendRequests(_with_every_signature(requests))
        finally:
            runner.Stop()

    def _CreateWarmupModel(
        self, blessing: types.Artifact, model_path: str, warmup_requests: list[Request]
    ) -> None:
        super()._CreateWarmupModel(blessing, model_path, _with_every_signature(warmup_requests))


class EmbeddedInfraValidator(InfraValidator):
    """The stock component with the executor above.

    Its `serving_spec` must carry one TensorFlow Serving tag: without any, TFX blesses every model
    unseen. The tag names the version whose client protocol is spoken; no image is pulled.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def _with_every_signature(requests: list[Request]) -> list[Request]:
    """TFX's requests, and one to each other signature from the first Example among them.

    There are none where a model is only to be loaded: it replays those beside it.
    """
    if not requests:
        return []
    examples = requests[0].inputs["examples"].string_val
    return [*requests, *signature_requests(examples[0], requests[0].model_spec.name)]
