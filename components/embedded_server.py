"""The embedded model server as a child process, for whoever validates a version.

Nobody else may ask it: it listens on the loopback interface alone, and ends with its parent. All
others on the machine get a processor before it does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from models.errors import DebutError
from serving.dependent import dependent
from serving.launcher import command
from serving.ports import free_port

_HOST: Final = "127.0.0.1"
_UNPROXIED: Final = (_HOST, "localhost")
# Whoever serves customers on this machine, or works on the version meanwhile, comes first.
_GIVING_WAY: Final = ("nice", "-n", "10")
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
                if probe.connect_ex((_HOST, self._port)) == 0:
                    return f"{_HOST}:{self._port}"
            time.sleep(_POLL_SECONDS)
        raise DebutError("The server did not open its port in time.")


@contextmanager
def embedded_server(base_path: Path, model_name: str) -> Iterator[Started]:
    """A server on the versions in a folder; while there is none, it waits for the first.

    From then on this process asks its own machine past any proxy of the environment.

    Args:
        base_path: the folder, which exists.
        model_name: under which it is served.
    """
    _pass_by_proxies()
    port = free_port()
    line = command(
        "embedded", base_path=str(base_path), model_name=model_name, host=_HOST, grpc_port=port,
        rest_port=0,
    )  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            # A load that failed once fails again, and would be tried until the deadline.
            [*_GIVING_WAY, *dependent([*line, "--max_num_load_retries=0"])],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Started(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _pass_by_proxies() -> None:
    """Have every gRPC client of this process, TFX's among them, reach this machine itself."""
    # Names in small letters are taken in place of NO_PROXY, and gRPC's own in place of any other.
    for name in ("no_proxy", *({"no_grpc_proxy"} & os.environ.keys())):
        hosts = os.environ.get(name, os.environ.get("NO_PROXY", "")).split(",")
        spared = dict.fromkeys([*filter(None, map(str.strip, hosts)), *_UNPROXIED])
        os.environ[name] = ",".join(spared)
