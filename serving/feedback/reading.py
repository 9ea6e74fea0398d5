"""Reads a feedback log: finishes its files, living writers begin new ones, and yields events."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from models.errors import BadInput
from models.faults import require_folder
from serving.feedback.events import Event, parse_event
from serving.feedback.log import OPEN, SEALED, locked, seal


class BadLine(NamedTuple):
    """A line that holds no event."""

    file: str
    line: int  # from 1
    reason: str


def sealed_files(folder: Path) -> list[Path]:
    """The files of a log, oldest first, with all that was acknowledged so far.

    Those that are open are finished first; a writer that is alive goes on in a new one. A line that
    a crash cut, which was never acknowledged, is cut off.

    Raises:
        BadInput: there is no such folder, or an open file can't be finished.
    """
    require_folder(folder, "feedback log")
    for path in sorted(folder.glob(f"*{OPEN}")):
        with _allowed(path, "finished"):
            _finish(path)
    return sorted(folder.glob(f"*{SEALED}"))


def read_events(file: Path) -> Iterator[Event | BadLine]:
    """Yields the events of a finished file in the order in which they were written.

    Raises:
        BadInput: the file can't be read.
    """
    with _allowed(file, "read"), open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield parse_event(line)
            except BadInput as fault:
                yield BadLine(file.name, number, str(fault))


@contextmanager
def _allowed(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise BadInput(
            f"{path} can't be {done} ({error.strerror}). Give the command as the user who writes "
            "the log."
        ) from error


def _finish(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # finished since the folder was listed
        return
    with open(descriptor, "rb") as file, locked(descriptor, path) as is_open:
        if is_open:
            os.ftruncate(descriptor, file.read().rfind(b"\n") + 1)
            seal(path)
