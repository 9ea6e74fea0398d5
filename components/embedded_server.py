"""The embedded model server as a child process, for whoever validates a version."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from models.errors import DebutError
from serving.launcher import ANY_ADDRESS, command
from serving.ports import free_port

_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2


class Started:
    """A server that was started."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
        self._process, self._port, self._log = process, port, log

    def address(self, *, deadline: float) -> str:
        """The address of its gRPC port, once it listens; it may still be loading versions.

        Args:
            deadline: unix time.

        Raises:
            DebutError: it ended, or did not open its port in time.
        """
        while time.time() < deadline:
            if self._process.poll() is not None:
                self._log.seek(0)
                text = self._log.read().decode("utf-8", "replace")
                raise DebutError(f"The server ended at once: {text}")
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", self._port)) == 0:
                    return f"localhost:{self._port}"
            time.sleep(_POLL_SECONDS)
        raise DebutError("The server did not open its port in time.")


@contextmanager
def embedded_server(base_path: Path, model_name: str) -> Iterator[Started]:
    """A server on the versions in a folder; while there is none, it waits for the first.

    Args:
        base_path: the folder, which exists.
        model_name: under which it is served.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                *command(
                    "embedded", base_path=str(base_path), model_name=model_name, host=ANY_ADDRESS,
                    grpc_port=port, rest_port=0,
                ),
                # A load that failed once fails again, and would be tried until the deadline.
                "--max_num_load_retries=0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield Started(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
