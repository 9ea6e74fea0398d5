"""`python -m serving.dependent PID MODULE ...`: runs a module, as `-m` does, for one parent alone.

A process that is killed can't end what it started. So this one looks itself whether PID is still
its parent, and ends where it is not.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

_POLL_SECONDS: Final = 0.5


def dependent(line: Sequence[str]) -> list[str]:
    """A command line whose process gets SIGTERM when this one has ended, however that was.

    Args:
        line: `python -m MODULE ...`.
    """
    python, option, *rest = line
    return [python, option, __name__, str(os.getpid()), *rest]


def _main() -> None:
    parent, *sys.argv = int(sys.argv[1]), *sys.argv[2:]
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _main()
