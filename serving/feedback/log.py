"""Writes the feedback log: append-only files, one line an event, safe against a crash.

A process writes into a file of its own whose name ends in `.open`, holding its lock for each line.
A line is on the disk when `append` returns. Whoever holds the lock may end the file by renaming it:
the writer when it is full, a reader whenever it comes; the writer goes on in a new one. What a
crash leaves is a file that still ends in `.open`, perhaps with a cut line behind the last whole
one; `serving.feedback.reading` reads on from there.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from models.pseudonyms import pseudonym
from serving.answers import Ranking
from serving.feedback.events import Action, Event, Impression, Shown
from serving.on_disk import flush

SEALED: Final = ".jsonl"
OPEN: Final = ".jsonl.open"
_MOST_BYTES: Final = 64 << 20


class FeedbackLog:
    """One process's part of a log. Threads may share it."""

    def __init__(self, folder: Path, *, key: bytes, most_bytes: int = _MOST_BYTES) -> None:
        """Begin no file yet; the first event does.

        Args:
            folder: of the log, which processes share; it is made where there is none.
            key: for the pseudonyms of users, that of `data.pseudonym_key` where a run has one.
            most_bytes: of a file; the event that passes it is the last one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key, self._most_bytes = folder, key, most_bytes
        self._lock = threading.Lock()
        self._file: int | None = None
        self._process = os.getpid()
        self._path = folder
        self._size = 0

    def impression(self, user: str, ranking: Ranking, *, history: Sequence[str] = ()) -> str:
        """Note a list that a user saw, with its propensities; 1 each where it has none.

        Args:
            user: raw id.
            ranking: what the client answered, cut to what was shown.
            history: what the request gave.

        Returns:
            The id of the list, for `click` and `purchase`.
        """
        chances = ranking.propensities or [1.0] * len(ranking.item_ids)
        shown = zip(ranking.item_ids, chances, strict=True)
        event = Impression(
            time=time.time(), user=pseudonym(self._key, user), list=uuid.uuid4().hex,
            version=ranking.version,
            items=tuple(Shown(item=item, propensity=p) for item, p in shown),
            history=tuple(history),
        )  # fmt: skip
        self.append(event)
        return event.list

    def click(self, user: str, item: str, list_id: str | None = None) -> None:
        """Note that a user looked at an item."""
        self._act("click", user, item, list_id)

    def purchase(self, user: str, item: str, list_id: str | None = None) -> None:
        """Note that a user bought an item."""
        self._act("purchase", user, item, list_id)

    def _act(self, event: str, user: str, item: str, list_id: str | None) -> None:
        values = {"event": event, "time": time.time(), "item": item, "list": list_id}
        self.append(Action.model_validate(values | {"user": pseudonym(self._key, user)}))

    def append(self, event: Event) -> None:
        """Write an event; it is on the disk when this returns.

        Raises:
            OSError: the disk is full, or the folder is gone. The event is not written then.
        """
        line = event.model_dump_json().encode() + b"\n"
        with self._lock:
            self._leave_to_parent()
            while self._file is None or not self._add(self._file, line):
                self._begin()

    def _add(self, file: int, line: bytes) -> bool:
        """Write a line unless the file has ended; says whether it did."""
        with locked(file, self._path) as is_open:
            if is_open:
                try:
                    _write(file, line)
                except OSError:
                    os.ftruncate(file, self._size)
                    raise
                self._size += len(line)
                if self._size >= self._most_bytes:
                    seal(self._path)
        return is_open

    def close(self) -> None:
        """End the file. Events after that begin a new one."""
        with self._lock:
            self._leave_to_parent()
            if self._file is not None:
                with locked(self._file, self._path) as is_open:
                    if is_open:
                        seal(self._path)
                self._let_go()

    def __enter__(self) -> FeedbackLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._let_go()
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex}"
        self._path = self._folder / f"{name}{OPEN}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        self._process, self._size = os.getpid(), 0
        flush(self._folder)

    def _leave_to_parent(self) -> None:
        """Let go of a file that was open when this process was forked: one lock holds both."""
        if self._process != os.getpid():
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def locked(file: int, path: Path) -> Iterator[bool]:
    """Hold a file of a log; nobody else writes or ends it meanwhile.

    Yields:
        Whether it is still open to events. Another may have ended it before it was held.
    """
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield path.exists()
    finally:
        # A child that was forked meanwhile has the file open too.
        fcntl.flock(file, fcntl.LOCK_UN)


def seal(path: Path) -> None:
    """End a file that is held, by giving it the name of an ended one."""
    path.rename(path.with_name(path.name.removesuffix(OPEN) + SEALED))
    flush(path.parent)


def _write(file: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(file, line[written:])
    os.fdatasync(file)
