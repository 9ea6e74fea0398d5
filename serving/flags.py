"""The flags of `tensorflow_model_server` 2.16, by name, with its defaults and its way of parsing.

As in the stock server, a value comes after `=` only, and an unknown flag prints the usage and is
otherwise ignored, as is what follows `--`. A flag whose feature this server lacks ends the start
with a message that says so: ignoring it in silence would serve something else than was asked for.
No TensorFlow is imported here, so that usage and refusals come at once.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass

from serving.addresses import EVERY_ADDRESS

Value = bool | int | float | str

_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
CPUS = len(os.sched_getaffinity(0))


class FlagError(Exception):
    """The command line can't be used; the message is what to print."""


class Support(enum.Enum):
    """What this server does with a flag."""

    YES = "works as in the stock server"
    TUNING = "accepted; changes no answer, and this server manages the matter itself"
    NO = "ends the start: not available in the embedded server"
    OWN = "not a flag of the stock server"


@dataclass(frozen=True)
class Flag:
    """One flag: name, default (its type is the flag's), help, support."""

    name: str
    default: Value
    help: str
    support: Support = Support.YES
    wide: bool = False

    def parse(self, text: str) -> Value:
        """The value in `text`; raises `FlagError` where it is none of the flag's type."""
        bad = FlagError(f"Couldn't interpret value {text} for flag {self.name}.")
        if isinstance(self.default, bool):
            if text.lower() not in _BOOLS:
                raise bad
            return _BOOLS[text.lower()]
        if isinstance(self.default, str):
            return text
        # Python also takes underscores, digits of other scripts and white space at the end.
        if not text.isascii() or "_" in text or text != text.rstrip():
            raise bad
        try:
            value = int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            raise bad from None
        if isinstance(value, int) and value not in (_INT64 if self.wide else _INT32):
            raise bad
        return value

    def usage(self) -> str:
        """One line of the usage text."""
        if isinstance(self.default, bool):
            kind, shown = "bool", str(self.default).lower()
        elif isinstance(self.default, int):
            kind, shown = ("int64" if self.wide else "int32"), str(self.default)
        elif isinstance(self.default, float):
            kind, shown = "float", f"{self.default:f}"
        else:
            kind, shown = "string", f'"{self.default}"'
        left = f"--{self.name}={shown}"
        note = "" if self.support is Support.YES else f" [{self.support.value}]"
        return f"\t{left:<33}\t{kind}\t{self.help}{note}\n"


_YES, _TUNING, _NO, _OWN = Support.YES, Support.TUNING, Support.NO, Support.OWN

FLAGS: tuple[Flag, ...] = (
    Flag("port", 8500, "TCP port for gRPC; 0 for none"),
    Flag("grpc_socket_path", "", "UNIX socket for gRPC, beside or instead of the port"),
    Flag("rest_api_port", 0, "TCP port for HTTP/REST, another one than --port; 0 for none"),
    Flag("rest_api_num_threads", 4 * CPUS, "threads for HTTP/REST", _TUNING),
    Flag("rest_api_timeout_in_ms", 30000, "time limit of an HTTP/REST call"),
    Flag("rest_api_enable_cors_support", False, "CORS headers in HTTP/REST answers"),
    Flag("enable_batching", False, "run requests together in batches"),
    Flag(
        "allow_version_labels_for_unavailable_models",
        False,
        "new version labels may point to versions that are not available",
    ),
    Flag("batching_parameters_file", "", "BatchingParameters text proto"),
    Flag("enable_per_model_batching_parameters", False, "read batching_params.pbtxt"),
    Flag("model_config_file", "", "ModelServerConfig text proto: the models to serve"),
    Flag(
        "model_config_file_poll_wait_seconds",
        0,
        "seconds between reads of the model config file; 0 reads it once",
    ),
    Flag("model_name", "default", "name of the model; not read with --model_config_file"),
    Flag("model_base_path", "", "folder of the model's versions; likewise"),
    Flag("num_load_threads", 0, "threads that load versions", _TUNING),
    Flag("num_unload_threads", 0, "threads that unload versions", _TUNING),
    Flag("max_num_load_retries", 5, "further attempts to load a version that failed"),
    Flag("load_retry_interval_micros", 60_000_000, "microseconds between attempts", wide=True),
    Flag(
        "file_system_poll_wait_seconds",
        1,
        "seconds between looks for new versions; 0 looks once, negative never",
    ),
    Flag("flush_filesystem_caches", True, "drop file system caches after loads", _TUNING),
    Flag("tensorflow_session_parallelism", 0, "threads of a session; 0: automatic", wide=True),
    Flag("tensorflow_session_config_file", "", "ConfigProto text proto"),
    Flag("tensorflow_intra_op_parallelism", 0, "threads inside an op; 0: automatic", wide=True),
    Flag("tensorflow_inter_op_parallelism", 0, "ops at a time; 0: automatic", wide=True),
    Flag("use_alts_credentials", False, "Google ALTS", _NO),
    Flag("ssl_config_file", "", "SSLConfig text proto: gRPC over TLS"),
    Flag("platform_config_file", "", "PlatformConfigMap text proto", _NO),
    Flag("per_process_gpu_memory_fraction", 0.0, "share of GPU memory; 0: automatic"),
    Flag("saved_model_tags", "serve", "comma-separated tags of the MetaGraph to load"),
    Flag("grpc_channel_arguments", "", "comma-separated key=value arguments of the gRPC server"),
    Flag("grpc_max_threads", 4 * CPUS, "gRPC requests handled at a time; further ones wait"),
    Flag("enable_model_warmup", True, "replay a version's warm-up requests before serving it"),
    Flag("num_request_iterations_for_warmup", 0, "how often; read if over 0"),
    Flag("version", False, "print the version and end"),
    Flag("monitoring_config_file", "", "MonitoringConfig text proto: Prometheus"),
    Flag("remove_unused_fields_from_bundle_metagraph", True, "saves memory", _TUNING),
    Flag("prefer_tflite_model", False, "load model.tflite where there is one", _NO),
    Flag("num_tflite_pools", CPUS, "TFLite interpreter pools", _NO),
    Flag("num_tflite_interpreters_per_pool", 1, "TFLite interpreters in a pool", _NO),
    Flag("enable_signature_method_name_check", False, "check signatures' method names"),
    Flag("xla_cpu_compilation_enabled", False, "XLA on CPU", _NO),
    Flag("enable_profiler", True, "profiler service", _NO),
    Flag("thread_pool_factory_config_file", "", "ThreadPoolConfig text proto", _NO),
    Flag("mixed_precision", "", "mixed-precision mode", _NO),
    Flag("skip_initialize_tpu", False, "do not initialise a TPU", _TUNING),
    Flag("enable_grpc_healthcheck_service", False, "grpc.health.v1 service"),
    Flag("bind_address", EVERY_ADDRESS, "address that --port and --rest_api_port listen on", _OWN),
    Flag("auth_token_file", "", "SHA-256 of the bearer tokens let in, one a line", _OWN),
    Flag("access_log_file", "", "file that gets one JSON line per call", _OWN),
    Flag("max_request_bytes", 0, "of one request; 0 or less: no limit", _OWN),
    Flag("max_request_rows", 0, "of one inference request; 0 or less: no limit", _OWN),
    Flag("max_concurrent_requests", 0, "inference requests at a time; 0 or less: no limit", _OWN),
)

_BY_NAME = {flag.name: flag for flag in FLAGS}


@dataclass(frozen=True)
class Parsed:
    """A command line.

    Attributes:
        values: every flag's value, by name.
        given: names of the flags that the command line gives.
        unknown: arguments that are no flag.
        lacking: flags given a value that asks for a feature this server lacks.
    """

    values: dict[str, Value]
    given: frozenset[str]
    unknown: tuple[str, ...]
    lacking: tuple[str, ...]

    def text(self, name: str) -> str:
        """Value of a string flag."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """Value of an integer flag."""
        return int(self.values[name])

    def switch(self, name: str) -> bool:
        """Value of a bool flag."""
        return bool(self.values[name])


def usage(program: str) -> str:
    """The usage text."""
    return f"usage: {program}\nFlags:\n" + "".join(flag.usage() for flag in FLAGS)


def parse(arguments: Sequence[str]) -> Parsed:
    """Parses a command line without the program's name.

    Raises:
        FlagError: a value that does not fit its flag.
    """
    values: dict[str, Value] = {}
    unknown = []
    lacking = []
    ended = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:ended]:
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = _BY_NAME.get(name) if argument.startswith("--") else None
        if flag is None or (not equals and not isinstance(flag.default, bool)):
            unknown.append(argument)
            continue
        value = flag.parse(text if equals else "true")
        values[name] = value
        # The profiler is on by default in the stock server; here it is not there to be left on.
        asks = value if name == "enable_profiler" else value != flag.default
        if flag.support is Support.NO and asks:
            lacking.append(name)
    unknown.extend(arguments[ended:])
    defaults = {flag.name: flag.default for flag in FLAGS}
    return Parsed(defaults | values, frozenset(values), tuple(unknown), tuple(lacking))
