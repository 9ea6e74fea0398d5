"""Folders that appear and go as a whole: nobody ever sees a part of one.

What is half-written or half-removed has a name that is no number, which model servers ignore.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.on_disk import flush, flush_all

_INCOMING: Final = ".incoming-"
_OUTGOING: Final = ".outgoing-"


@contextmanager
def written_beside(base: Path) -> Iterator[Path]:
    """A path in `base` to write a folder at, for `put_at_once`; what stays there is removed."""
    hidden = base / f"{_INCOMING}{os.getpid()}-{time.time_ns()}"
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def put_at_once(written: Path, folder: Path) -> None:
    """Give a written folder its name; all of it is on the disk before, and the name after."""
    flush_all(written)
    written.rename(folder)
    flush(folder.parent)


def remove_at_once(folder: Path) -> None:
    """Take a folder away at once, as it came, and only then file by file."""
    gone = folder.with_name(f"{_OUTGOING}{folder.name}-{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone)


def clear(base: Path) -> None:
    """Remove what killed processes left; nobody else may be writing in `base`."""
    for path in [*base.glob(f"{_INCOMING}*"), *base.glob(f"{_OUTGOING}*")]:
        shutil.rmtree(path)
