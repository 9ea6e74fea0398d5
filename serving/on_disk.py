"""Files that are on the disk before a name is given to them, for power may fail at any moment.

A file system may keep a rename and lose what was written before it.
"""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Return when a file, or the list of what is in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_all(folder: Path) -> None:
    """The same for a folder with all that is in it."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)
