"""A lock that ends with its process."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import BadInput


@contextmanager
def held(file: Path, *, busy: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock, which the kernel frees however the process ends.

    Args:
        file: it is made where it is missing, its folder too, and stays empty.
        busy: called where another process holds the lock. If it returns, this one waits.

    Raises:
        BadInput: the folder can't be written, so nothing in it can be changed.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("a")
    except OSError as error:
        raise BadInput(
            f"{file.parent} can't be written ({error.strerror}). Give one that can."
        ) from error
    with lock:
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
