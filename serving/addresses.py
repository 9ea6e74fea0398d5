"""Addresses that servers listen on, of IPv4 and of IPv6."""

from __future__ import annotations

import socket
from typing import Final

EVERY_ADDRESS: Final = "0.0.0.0"


def family_of(host: str) -> socket.AddressFamily:
    """That of the sockets which can listen on an address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def with_port(host: str, port: int) -> str:
    """`HOST:PORT`, with an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def try_port(host: str, port: int) -> None:
    """Raise OSError where a server could not listen there now."""
    with socket.socket(family_of(host)) as probe:
        # As servers do; else connections of one that has just ended would be in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
