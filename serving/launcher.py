"""`debut serve`: picks an engine, builds its command line, runs it until it is told to stop.

All engines take the stock server's flags. Two things differ: only the embedded server and Docker
can listen on one address (the stock binary always listens on all of them), and only the embedded
server finishes the requests in flight on SIGTERM.
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Literal

from models.errors import BadInput, DebutError
from serving.addresses import EVERY_ADDRESS, try_port, with_port
from serving.client import Client
from serving.dependent import dependent
from serving.session_config import FILE, FLAG
from serving.version_labels import POLL_SECONDS

Engine = Literal["binary", "docker", "embedded"]
BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.16.1"
_POLL_SECONDS = 0.2
_REST_SECONDS = 10.0
_FILE_INSIDE = "/config/session.config"


def choose(engine: str) -> Engine:
    """The engine to run; `auto` takes the stock binary, else Docker, else the embedded server.

    Raises:
        BadInput: the engine asked for is not on this machine, or there is no such engine.
    """
    if engine in ("auto", "binary") and shutil.which(BINARY):
        return "binary"
    if engine == "binary":
        raise BadInput(f"There is no {BINARY} on the PATH; install it, or use --engine embedded.")
    if engine in ("auto", "docker") and _docker_answers():
        return "docker"
    if engine == "docker":
        raise BadInput("No Docker daemon answers; start it, or use --engine embedded.")
    if engine in ("auto", "embedded"):
        return "embedded"
    raise BadInput(f"Unknown engine {engine!r}; use auto, binary, docker or embedded.")


def command(
    engine: Engine,
    *,
    base_path: str,
    model_name: str,
    host: str,
    grpc_port: int,
    rest_port: int,
    model_config: str = "",
) -> list[str]:
    """The command line that serves a model.

    Args:
        engine: one that `choose` returned.
        base_path: folder of the version folders.
        model_name: name under which it is served.
        host: address to listen on; the stock binary listens on all of them whatever this says.
        grpc_port: port for gRPC.
        rest_port: port for HTTP/REST; 0 for none.
        model_config: a ModelServerConfig with the labels of the versions, in the folder above
            `base_path`; without it the newest version is served, and no label.
    """
    base_path = os.path.abspath(base_path)
    if engine == "docker":
        # The configuration names the folder by its path here, so it has the same one inside.
        folder = os.path.dirname(base_path) if model_config else base_path
        inside = folder if model_config else f"/models/{model_name}"
        publish = [f"--publish={with_port(host, grpc_port)}:8500"]
        if rest_port:
            publish.append(f"--publish={with_port(host, rest_port)}:8501")
        return [
            # --init: as the container's first process the server would ignore SIGTERM.
            *["docker", "run", "--rm", "--init", *publish],
            *[f"--volume={folder}:{inside}:ro", f"--volume={FILE}:{_FILE_INSIDE}:ro"],
            *[f"--entrypoint={BINARY}", IMAGE],
            *_flags(8500, 8501 if rest_port else 0, _FILE_INSIDE),
            *_what(inside, model_name, model_config),
        ]
    flags = [*_flags(grpc_port, rest_port, str(FILE)), *_what(base_path, model_name, model_config)]
    if engine == "binary":
        return [BINARY, *flags]
    return [sys.executable, "-m", "serving.main", *flags, f"--bind_address={host}"]


def _flags(grpc_port: int, rest_port: int, session_config: str) -> list[str]:
    return [
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"{FLAG}={session_config}",
    ]


def _what(base_path: str, model_name: str, model_config: str) -> list[str]:
    """What is served: the versions in a folder, or what a configuration says of them."""
    if not model_config:
        return [f"--model_name={model_name}", f"--model_base_path={base_path}"]
    return [
        f"--model_config_file={os.path.abspath(model_config)}",
        f"--model_config_file_poll_wait_seconds={POLL_SECONDS}",
        # At the start no version answers yet, and a label could not be given to any.
        "--allow_version_labels_for_unavailable_models=true",
    ]


def serve(
    engine: Engine,
    *,
    base_path: str,
    model_name: str = "debut",
    host: str = "127.0.0.1",
    grpc_port: int = 8500,
    rest_port: int = 8501,
    model_config: str = "",
    say: Callable[[str], None] = print,
) -> int:
    """Runs a server, says one line when it is ready, and passes SIGTERM and SIGINT on to it.

    Must be called from the main thread. Arguments as in `command`, and `say`, which gets the line.

    Returns:
        0 after a signal ended it.

    Raises:
        BadInput: a port that is taken.
        DebutError: the server ended by itself.
    """
    listening = EVERY_ADDRESS if engine == "binary" else host
    _check_ports(listening, grpc_port, rest_port)
    stopping = threading.Event()
    line = command(
        engine,
        base_path=base_path,
        model_name=model_name,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        model_config=model_config,
    )
    # The others are no Python, and so can't look themselves whether somebody killed this process.
    process = subprocess.Popen(dependent(line) if engine == "embedded" else line)

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        process.terminate()

    previous = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        address = "127.0.0.1" if host == EVERY_ADDRESS else host
        version = _wait_until_available(process, with_port(address, grpc_port), model_name)
        if version is not None:
            if not _answers_over_rest(process, address, rest_port, model_name):
                rest_port = 0
            say(_ready_line(engine, model_name, version, host, grpc_port, rest_port))
        code = _wait_until_ended(process)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.terminate()
            process.wait()
    if not stopping.is_set():
        raise DebutError(
            f"The model server ({engine}) ended by itself with exit code {code}; what it printed"
            " above says why."
        )
    return 0


def _check_ports(host: str, grpc_port: int, rest_port: int) -> None:
    """Raises where another program has a port: its answers would be taken for the server's."""
    if grpc_port == rest_port:
        raise BadInput(
            f"gRPC and REST can't share port {grpc_port}; give another one with --rest-port."
        )
    for option, port in (("--grpc-port", grpc_port), ("--rest-port", rest_port)):
        try:
            try_port(host, port)
        except OSError as error:  # of any other the server itself says what is wrong
            if error.errno == errno.EADDRINUSE:
                raise BadInput(
                    f"Another program listens on port {port} of {host}; stop it, or give"
                    f" another port with {option}."
                ) from error


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _wait_until_available(
    process: subprocess.Popen[bytes], target: str, model_name: str
) -> int | None:
    """The version that became available; None where the process ended before."""
    # It asks again by itself for so long, and sees no process that has ended.
    with Client(target, model=model_name, timeout=2.0) as client:
        while process.poll() is None:
            try:
                available = [s.version for s in client.status() if s.is_available]
            except DebutError:  # not listening yet, or the model is not there yet
                available = []
            if available:
                return max(available)
            try:
                process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    return None


def _wait_until_ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a server that ended, by itself or because a signal was passed on to it.

    It waits in steps: Python runs no handler before a system call that waits returns, and a signal
    that came a moment before the call doesn't interrupt it.
    """
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _answers_over_rest(
    process: subprocess.Popen[bytes], address: str, port: int, model_name: str
) -> bool:
    """Whether the server has REST; it opens that port after the other one, or logs why it can't."""
    deadline = time.monotonic() + _REST_SECONDS
    while port and process.poll() is None:
        connection = http.client.HTTPConnection(address, port, timeout=_REST_SECONDS)
        try:
            connection.request("GET", f"/v1/models/{model_name}")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        finally:
            connection.close()
    return False


def _ready_line(
    engine: Engine, model_name: str, version: int, host: str, grpc_port: int, rest_port: int
) -> str:
    shown = EVERY_ADDRESS if engine == "binary" else host
    rest = f", REST on {with_port(shown, rest_port)}" if rest_port else ""
    note = f" ({BINARY} listens on every address)" if engine == "binary" and host != shown else ""
    return (
        f"Serving {model_name} version {version}: gRPC on {with_port(shown, grpc_port)}{rest}"
        f" [{engine}]{note}"
    )
