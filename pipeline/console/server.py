"""Runs the console until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import waitress

from models.errors import BadInput, DebutError
from pipeline.console.app import LARGEST_BODY, Console
from pipeline.console.desk import Desk
from pipeline.layout import report_folder, serving_folder
from pipeline.newest import newest_version
from serving.access.auth import Tokens, read_tokens
from serving.addresses import family_of
from serving.client import Client
from serving.status import StatusError

if TYPE_CHECKING:
    from pipeline.console.records import Records

_THREADS: Final = 8
_log = logging.getLogger(__name__)


class RootActions:
    """`debut promote` and `debut rollback` on a root."""

    def __init__(self, root: Path) -> None:
        """Changes nothing yet."""
        self._root = root

    def promote(self, canary: int, reason: str) -> int:
        """See `pipeline.changes.going_back.promote_canary`."""
        from pipeline.changes.going_back import promote_canary

        return promote_canary(self._root, reason=reason, meant=canary)

    def roll_back(self, version: str, newest: int, reason: str) -> int:
        """See `pipeline.changes.going_back.roll_back`."""
        from pipeline.changes.going_back import roll_back

        done = roll_back(self._root, version, reason=reason, newest=newest)
        return int(done.version.name)


def create_console(root: Path, client: Client, *, token_file: Path | None = None) -> Console:
    """The console of a root and the model server that serves it.

    Args:
        root: that `debut run` was given.
        client: of the server.
        token_file: SHA-256 of the tokens that may change something; None for nobody.

    Raises:
        BadInput: nothing was pushed under the root, or the file of tokens can't be used.
    """
    newest_version(serving_folder(root))

    @cache
    def records() -> Records:
        from pipeline.console.records import Records

        return Records(root)

    return Console(
        Desk(root, client),
        records,
        reports=report_folder(root.resolve()),
        actions=None if token_file is None else RootActions(root),
        tokens=None if token_file is None else _tokens(token_file),
    )


def serve(console: Console, *, host: str, port: int, say: Callable[[int], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        console: the application.
        host: the address to listen on.
        port: 0 for any that is free.
        say: told the port when the console answers.

    Raises:
        BadInput: the port can't be had.
    """
    server = listen(console, host=host, port=port)
    signal.signal(signal.SIGTERM, _stop)
    say(int(server.effective_port))
    threading.Thread(target=_warm, args=(console,), name="warm", daemon=True).start()
    server.run()


def listen(console: Console, *, host: str, port: int) -> Any:
    """Waitress's server of a console, which accepts connections, and answers once it runs.

    Raises:
        BadInput: the port can't be had.
    """
    return waitress.create_server(
        console, sockets=[_socket(host, port)], threads=_THREADS, ident=None,
        clear_untrusted_proxy_headers=True, max_request_body_size=LARGEST_BODY,
    )  # fmt: skip


def _socket(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=family_of(host))
    except OSError as error:
        raise BadInput(
            f"Port {port} of {host} can't be had: {error.strerror}. Give another --port."
        ) from error


def _stop(_: int, __: FrameType | None) -> None:
    sys.exit(0)  # the server's loop lets its threads finish and returns


def _warm(console: Console) -> None:
    """Loads what the first questions would wait for."""
    try:
        console.warm()
    except DebutError as error:
        _log.info("Nothing was read ahead: %s", error)


def _tokens(file: Path) -> Tokens:
    try:
        return read_tokens(str(file))
    except StatusError as error:
        raise BadInput(f"The file of tokens can't be used: {error.message}.") from error
