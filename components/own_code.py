"""What Debut's own code is, so that a cache that an older one filled is not taken from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import components
import models
from models.digests import file_digest

# What nodes run; `pipeline` only puts them together.
_PACKAGES: Final = tuple(Path(package.__path__[0]) for package in (components, models))


def code_digest(packages: Sequence[Path] = _PACKAGES) -> bytes:
    """SHA-256 of the names and contents of all modules of some packages, given by their folders."""
    digest = hashlib.sha256()
    for package in packages:
        for module in sorted(package.rglob("*.py")):
            name = module.relative_to(package).as_posix()
            digest.update(f"{name}:{file_digest(module)}\n".encode())
    return digest.digest()
