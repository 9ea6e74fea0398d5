"""`ModelServer`: registry, gRPC and REST put together from parsed flags.

The ports open only when every model of the first configuration is available, as with the stock
server: a port that answers is a server that is ready.
"""

from __future__ import annotations

import logging
import threading
from concurrent import futures
from typing import Any

import grpc
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.access.gate import Gate
from serving.access.tls import read_credentials
from serving.addresses import with_port
from serving.config.model_config import read_config, single_model
from serving.config.text_proto import read_text_proto
from serving.flags import CPUS, Parsed
from serving.metrics import Metrics, read_path
from serving.rest.api import RestApi
from serving.rest.http_server import RestServer
from serving.rpc.health import HealthService, Reflection, add_reflection
from serving.rpc.model_service import ModelService
from serving.rpc.prediction_service import PredictionService
from serving.runtime.batch_options import Batching, read_batching
from serving.status import StatusError, invalid_argument
from serving.versions.loading import LoadOptions
from serving.versions.model_registry import ModelRegistry

DRAIN_SECONDS = 30.0
# Threads of one core that hold requests while their batch fills, at most.
_HOLDING = 32
_log = logging.getLogger(__name__)


class ModelServer:
    """One server process' worth of models and ports."""

    def __init__(self, flags: Parsed, stopping: threading.Event) -> None:
        """Reads the configuration; loads and opens nothing yet.

        Args:
            flags: the command line.
            stopping: set from outside to make `start` return.

        Raises:
            StatusError: flags or files that can't be used.
        """
        _check(flags)
        self._flags = flags
        self._config = _first_config(flags)
        self._stopping = stopping
        self._metrics_path = _metrics_path(flags)
        self._metrics = Metrics()
        options = _load_options(flags, self._metrics)
        self._registry = ModelRegistry(
            options,
            labels_for_unavailable=flags.switch("allow_version_labels_for_unavailable_models"),
        )
        self._gate = Gate.from_flags(flags, self._registry)
        self._threads = self._gate.threads(_wanted_threads(flags, options.batching))
        ssl = flags.text("ssl_config_file")
        self._credentials = read_credentials(ssl) if ssl else None
        has_health = flags.switch("enable_grpc_healthcheck_service")
        self._health = HealthService() if has_health else None
        self._reflection: Reflection | None = None
        self._grpc: grpc.Server | None = None
        self._rest: RestServer | None = None

    def start(self) -> None:
        """Loads the models, then opens the ports. Returns early where it is stopping.

        Raises:
            StatusError: a model that can't be loaded, a port that can't be opened.
        """
        try:
            self._registry.reload(
                self._config, keep_waiting=lambda: not self._stopping.is_set(), at_start=True
            )
        except StatusError:
            if self._stopping.is_set():
                return
            raise
        self._grpc = _grpc_server(
            self._flags, self._registry, self._metrics, self._gate, threads=self._threads
        )
        self._reflection = add_reflection(self._grpc, with_health=self._health is not None)
        if self._health:
            self._health.add_to(self._grpc)
        _open_ports(self._flags, self._grpc, self._credentials)
        self._grpc.start()
        self._rest = _rest_server(
            self._flags, self._registry, self._metrics, self._gate, metrics_path=self._metrics_path
        )
        seconds = self._flags.number("model_config_file_poll_wait_seconds")
        if seconds > 0 and self._flags.text("model_config_file"):
            threading.Thread(target=self._poll_config, args=(seconds,), daemon=True).start()

    def drain(self) -> None:
        """Refuses new requests, finishes those in flight, unloads every model."""
        if self._health:
            self._health.drain()
        if self._reflection:
            self._reflection.drain()
        stopped = self._grpc.stop(DRAIN_SECONDS) if self._grpc else None
        if self._rest:
            self._rest.stop(DRAIN_SECONDS)
        if stopped:
            stopped.wait()
        self._registry.stop()

    def _poll_config(self, seconds: float) -> None:
        path = self._flags.text("model_config_file")
        while not self._stopping.wait(seconds):
            try:
                self._registry.reload(
                    read_config(path), keep_waiting=lambda: not self._stopping.is_set()
                )
            except StatusError as error:
                _log.error("Reloading %s: %s", path, error)


def _check(flags: Parsed) -> None:
    if flags.number("port") == 0 and not flags.text("grpc_socket_path"):
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path"
            " must be set."
        )
    if not flags.text("model_base_path") and not flags.text("model_config_file"):
        raise invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if flags.number("grpc_max_threads") < 1:
        raise invalid_argument("server_options.grpc_max_threads must be at least 1.")


def _first_config(flags: Parsed) -> Any:
    path = flags.text("model_config_file")
    if not path:
        return single_model(flags.text("model_name"), flags.text("model_base_path"))
    config = read_config(path)
    if config.WhichOneof("config") is None:
        config.model_config_list.SetInParent()
    return config


def _metrics_path(flags: Parsed) -> str:
    """The page's path; without REST there is none, and nobody reads the file."""
    file = flags.text("monitoring_config_file")
    has_rest = flags.number("rest_api_port") not in (0, flags.number("port"))
    return read_path(file) if file and has_rest else ""


def _load_options(flags: Parsed, metrics: Metrics) -> LoadOptions:
    return LoadOptions(
        poll_seconds=flags.number("file_system_poll_wait_seconds"),
        max_retries=flags.number("max_num_load_retries"),
        retry_seconds=max(flags.number("load_retry_interval_micros"), 0) / 1e6,
        tags=tuple((flags.text("saved_model_tags") or "serve").split(",")),
        warm_up=flags.switch("enable_model_warmup"),
        warm_up_iterations=max(flags.number("num_request_iterations_for_warmup"), 1),
        check_method=flags.switch("enable_signature_method_name_check"),
        metrics=metrics,
        batching=read_batching(
            enabled=flags.switch("enable_batching"),
            file=flags.text("batching_parameters_file"),
            per_model=flags.switch("enable_per_model_batching_parameters"),
        ),
        session_config=_session_config(flags),
    )


def _session_config(flags: Parsed) -> config_pb2.ConfigProto:
    config = config_pb2.ConfigProto()
    path = flags.text("tensorflow_session_config_file")
    if path:
        read_text_proto(path, config)
    both = flags.number("tensorflow_session_parallelism")
    intra = flags.number("tensorflow_intra_op_parallelism")
    inter = flags.number("tensorflow_inter_op_parallelism")
    if both > 0 and intra > 0 and inter > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or"
            " (server_options.tensorflow_intra_op_parallelism,"
            " server_options.tensorflow_inter_op_parallelism) separately."
            " You cannot configure all."
        )
    separate = intra > 0 or inter > 0
    config.intra_op_parallelism_threads = intra if separate else both
    config.inter_op_parallelism_threads = inter if separate else both
    share = float(flags.values["per_process_gpu_memory_fraction"])
    config.gpu_options.per_process_gpu_memory_fraction = share
    return config


def _wanted_threads(flags: Parsed, batching: Batching | None) -> int:
    """Threads for gRPC, as given or enough: one batch fills while another one runs."""
    threads = flags.number("grpc_max_threads")
    if batching is None or "grpc_max_threads" in flags.given:
        return threads
    return max(threads, min(2 * batching.common.max_batch_size, _HOLDING * CPUS))


def _grpc_server(
    flags: Parsed, registry: ModelRegistry, metrics: Metrics, gate: Gate, *, threads: int
) -> grpc.Server:
    options = _channel_arguments(
        flags.text("grpc_channel_arguments"), max_bytes=gate.limits.message_bytes
    )
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, "grpc"),
        interceptors=gate.interceptors(),
        options=options,
    )
    prediction = PredictionService(
        registry, metrics, check_method=flags.switch("enable_signature_method_name_check")
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
    service = ModelService(registry, metrics)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    return server


def _open_ports(
    flags: Parsed, server: grpc.Server, credentials: grpc.ServerCredentials | None
) -> None:
    """Opens the TCP port and the Unix socket; raises `StatusError` where one can't be."""
    addresses = []
    if flags.number("port"):
        addresses.append(with_port(flags.text("bind_address"), flags.number("port")))
    if flags.text("grpc_socket_path"):
        addresses.append(f"unix:{flags.text('grpc_socket_path')}")
    for address in addresses:
        try:
            if credentials:
                server.add_secure_port(address, credentials)
            else:
                server.add_insecure_port(address)
        except RuntimeError as error:  # an address in use, or PEM text that is no good
            _log.error("gRPC at %s: %s", address, error)
            raise invalid_argument("Failed to BuildAndStart gRPC server") from error
        _log.info("Running gRPC ModelServer at %s ...", address)


def _channel_arguments(text: str, *, max_bytes: int) -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", max_bytes or -1),
        # Otherwise a second server on the same port starts without an error and takes every other
        # connection.
        ("grpc.so_reuseport", 0),
    ]
    for argument in filter(None, text.split(",")):
        key, _, value = argument.partition("=")
        try:
            options.append((key, int(value)))
        except ValueError:
            options.append((key, value))
    return options


def _rest_server(
    flags: Parsed, registry: ModelRegistry, metrics: Metrics, gate: Gate, *, metrics_path: str
) -> RestServer | None:
    port = flags.number("rest_api_port")
    if port == 0:
        return None
    if port == flags.number("port"):
        _log.error("--rest_api_port is the same as --port: HTTP/REST is not exported.")
        return None
    api = RestApi(
        registry,
        metrics,
        timeout_ms=flags.number("rest_api_timeout_in_ms"),
        check_method=flags.switch("enable_signature_method_name_check"),
        limits=gate.limits,
    )
    cors = flags.switch("rest_api_enable_cors_support")
    try:
        rest = RestServer(
            (flags.text("bind_address"), port),
            api,
            cors=cors,
            gate=gate,
            pages={metrics_path: metrics.text} if metrics_path else {},
        )
    except (OSError, OverflowError) as error:  # a port in use, or one of more than 16 bits
        _log.error("Failed to start HTTP Server at port %d: %s", port, error)
        return None
    rest.start()
    _log.info("Exporting HTTP/REST API at: %s ...", with_port(flags.text("bind_address"), port))
    return rest
