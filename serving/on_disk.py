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


def write_at_once(file: Path, text: str) -> None:
    """Write a file, or replace it, under a name that listings of its kind don't show before."""
    incoming = file.with_name(f".incoming-{os.getpid()}-{file.name}.part")
    try:
        incoming.write_text(text, encoding="utf-8")
        flush(incoming)
        incoming.replace(file)
    finally:
        incoming.unlink(missing_ok=True)


def flush_all(folder: Path) -> None:
    """The same for a folder with all that is in it."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)
