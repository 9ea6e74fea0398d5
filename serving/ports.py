"""A free local port, for servers that are started beside others on one machine."""

from __future__ import annotations

import socket
from typing import Final

_HELD: Final[list[socket.socket]] = []


def free_port() -> int:
    """A TCP port of the loopback interface that nobody else is given while this process lives.

    A server opens its port only when its models are loaded. Were the port let go until then,
    another process could be given it, or a client that tries it could be connected to itself. A
    server that sets `SO_REUSEADDR`, as gRPC and Python's do, may open a port that is held so.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port
