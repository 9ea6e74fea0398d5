"""A lock that ends with its process."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(file: Path, *, busy: Callable[[], None] = lambda: None) -> Iterator[None]:
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
