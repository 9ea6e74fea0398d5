"""One change of the items at a time under a root: each starts from what the one before pushed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from components.locks import held

_ITEMS: Final = "items.lock"


def one_at_a_time(root: Path, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    """Hold the root for one change of its items.

    Args:
        root: an existing folder.
        waiting: called where another process holds it.
    """
    return held(root / _ITEMS, busy=waiting)
