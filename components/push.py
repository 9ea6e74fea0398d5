"""Makes a version appear all at once, for servers that poll the folder."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path


def push(model: Path, base: Path) -> Path:
    """Make `model` the newest version under `base`.

    The copy is written under a name that is no number, which model servers ignore, and renamed
    when it is complete. The version is the unix time in seconds, or one more than the newest.

    Returns:
        The folder of the new version.
    """
    base.mkdir(parents=True, exist_ok=True)
    copy = base / f".incoming-{os.getpid()}-{time.time_ns()}"
    try:
        shutil.copytree(model, copy)
        newest = max((int(p.name) for p in base.iterdir() if p.name.isdigit()), default=0)
        version = base / str(max(int(time.time()), newest + 1))
        copy.rename(version)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return version
