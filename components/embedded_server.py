"""The embedded model server as a child process, for whoever validates a version."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from models.errors import DebutError
from serving.ports import free_port

_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2


@contextmanager
def embedded_server(base_path: Path, model_name: str, *, deadline: float) -> Iterator[str]:
    """A server on the versions in a folder, which listens but may still be loading them.

    Args:
        base_path: the folder.
        model_name: under which it is served.
        deadline: unix time.

    Yields:
        The address of its gRPC port.

    Raises:
        DebutError: it ended, or did not open its port in time.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.main",
                f"--port={port}",
                f"--model_name={model_name}",
                f"--model_base_path={base_path}",
                # A load that failed once fails again, and would be tried until the deadline.
                "--max_num_load_retries=0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait_until_open(process, port, log, deadline)
            yield f"localhost:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_open(
    process: subprocess.Popen[bytes], port: int, log: IO[bytes], deadline: float
) -> None:
    while time.time() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise DebutError(f"The server ended at once: {log.read().decode('utf-8', 'replace')}")
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(_POLL_SECONDS)
    raise DebutError("The server did not open its port in time.")
