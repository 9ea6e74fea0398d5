"""Reads a feedback log: finishes the files of writers that are gone, and yields their events."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from models.errors import BadInput
from serving.feedback.events import Event, parse_event
from serving.feedback.log import OPEN, SEALED, seal


class BadLine(NamedTuple):
    """A line that holds no event."""

    file: str
    line: int  # from 1
    reason: str


def sealed_files(folder: Path) -> list[Path]:
    """The finished files of a log, oldest first.

    Those of writers that are gone are finished first: a line that a crash cut, which was never
    acknowledged, is cut off. A file whose writer is alive is left to it.

    Raises:
        BadInput: the folder does not exist.
    """
    if not folder.is_dir():
        raise BadInput(f"The feedback log {folder} does not exist. Give the folder of a log.")
    for path in sorted(folder.glob(f"*{OPEN}")):
        _finish(path)
    return sorted(folder.glob(f"*{SEALED}"))


def read_events(file: Path) -> Iterator[Event | BadLine]:
    """Yields the events of a finished file in the order in which they were written."""
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield parse_event(line)
            except BadInput as fault:
                yield BadLine(file.name, number, str(fault))


def _finish(path: Path) -> None:
    with open(path, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not path.exists():  # its writer sealed it just now
            return
        os.ftruncate(file.fileno(), file.read().rfind(b"\n") + 1)
        seal(path)
