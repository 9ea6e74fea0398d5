"""One change of the items at a time under a root: each starts from what the one before pushed."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FILE: Final = "items.lock"


@contextmanager
def one_at_a_time(root: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the root's lock, which the kernel frees however the process ends.

    Args:
        root: an existing folder.
        waiting: called where another process holds it.
    """
    with (root / _FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # A child that was forked meanwhile has the file open too.
            fcntl.flock(file, fcntl.LOCK_UN)
