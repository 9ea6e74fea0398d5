"""A server for one process alone: nobody else reaches it, and it ends when that process does."""

import contextlib
import os
import select
import socket
import subprocess
import sys

import psutil
import pytest

# Starts the server that validates versions, tells its address, and waits.
PARENT = """
import sys, time
from pathlib import Path
from components.embedded_server import embedded_server
with embedded_server(Path(sys.argv[1]), "scale") as server:
    print(server.address(deadline=time.time() + 60), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def started(models):
    """The process, the address of its server's port, and the server's process as a descriptor."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", PARENT, str(models / "scale")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        [server] = psutil.Process(process.pid).children()
        # It tells of the end even where nobody fetches a killed parent's children.
        descriptor = os.pidfd_open(server.pid)
        stack.callback(os.close, descriptor)
        yield process, address, descriptor


@pytest.fixture(scope="module")
def lasting(models):
    """One for all who only look at it."""
    with started(models) as parent:
        yield parent


@pytest.fixture
def parent(models):
    """One that a test may end."""
    with started(models) as parent:
        yield parent


def ends(descriptor, seconds=60):
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_only_the_loopback_address_that_is_asked_is_open(lasting):
    _, address, _ = lasting
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10):
        assert host == "127.0.0.1"
    # Whoever listens on every address has this one too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(port)), timeout=10)


def test_server_gives_way_to_all_others(lasting):
    process, _, _ = lasting
    [server] = psutil.Process(process.pid).children()
    own = psutil.Process(process.pid).nice()
    assert server.nice() == min(own + 10, 19)
    assert server.nice() > own or own == 19


def test_server_ends_when_its_parent_is_killed(parent):
    process, _, server = parent
    assert not ends(server, seconds=0)
    process.kill()
    process.wait()
    assert ends(server)


def test_server_ends_before_its_parent_does(parent):
    process, _, server = parent
    process.stdin.close()
    assert process.wait(60) == 0
    assert ends(server, seconds=0)
