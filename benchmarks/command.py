"""`debut` in a process of its own, for benchmarks that need what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from models.errors import DebutError

_SAID: Final = 2000  # characters of a failed command's words


def debut(*arguments: str) -> None:
    """Run the command to its end.

    Raises:
        DebutError: it ended with another code than 0; the message is what it said.
    """
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DebutError(
            f"`debut {' '.join(arguments)}` ended with {done.returncode}: {done.stderr[-_SAID:]}"
        )
