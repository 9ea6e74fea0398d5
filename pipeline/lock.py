"""Locks on a root that end with their process: one run, or one change of the items, at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

_ITEMS: Final = "items.lock"


@contextmanager
def held(file: Path, *, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, which the kernel frees however the process ends.

    Args:
        file: in an existing folder; it is made, and stays empty.
        busy: called where another process holds the lock. If it returns, this one waits.
    """
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # A child that was forked meanwhile has the file open too.
            fcntl.flock(lock, fcntl.LOCK_UN)


def one_at_a_time(root: Path, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    """Hold the root for one change of its items: each starts from what the one before pushed.

    Args:
        root: an existing folder.
        waiting: called where another process holds it.
    """
    return held(root / _ITEMS, busy=waiting)
