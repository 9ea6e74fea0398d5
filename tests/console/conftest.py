import hashlib
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.console.server import create_console
from pipeline.console.server import listen as server_of
from serving.client import Client
from tests.console.shop import Model, served, write_root

TOKEN = "s3cret"


@dataclass
class Place:
    """A root, the server of it and what that was asked; and a file with one token."""

    root: Path
    target: str
    model: Model
    token_file: Path

    def console(self, root=None, **options):
        return create_console(root or self.root, Client(self.target), **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = write_root(tmp_path_factory.mktemp("root"), canary=True)
    tokens = root / "tokens"
    tokens.write_text(hashlib.sha256(TOKEN.encode()).hexdigest() + "\n")
    with served() as (target, model):
        yield Place(root, target, model, tokens)


@pytest.fixture
def own_root(place, tmp_path):
    """A copy of the root, to be changed."""
    return shutil.copytree(place.root, tmp_path / "own")


@pytest.fixture(scope="module")
def listening():
    """Serves consoles over HTTP until the module ends; returns their address."""
    servers = []

    def listen(console):
        server = server_of(console, host="127.0.0.1", port=0)
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.effective_port}"

    yield listen
    for server in servers:
        server.trigger.pull_trigger(server.close)  # in its own thread, which waits for its sockets
