"""Processes that no test leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def running(line: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process, which is killed with all that it has started, whatever becomes of the test.

    Args:
        line: the command.
        options: of `Popen`.
    """
    with subprocess.Popen(line, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
