"""Who works in a root: one run of a pipeline at a time, and one change of the items.

A change starts from what the one before pushed. A run counts whatever is under way in ML Metadata
as abandoned by a killed one, and reads the newest run there as itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from components.locks import held
from models.errors import BadInput

_RUN: Final = ".run.lock"
_ITEMS: Final = "items.lock"
_WILDCARDS: Final = frozenset("*?[\\")


def alone(root: Path, *, waiting: Callable[[], None] | None = None) -> AbstractContextManager[None]:
    """Hold the root for one run of a pipeline; the system frees what a killed run held.

    Args:
        root: made where it is missing.
        waiting: called where another run is under way, which this one then waits for; None to
            refuse instead.

    Raises:
        BadInput: the folder's path has wildcards; on entering, it can't be written or another run
            is under way.
    """
    _refuse_wildcards(root)

    def refuse() -> None:
        raise BadInput(
            f"Another `debut run`, or a scheduled change, is under way in {root}. Wait for it, end "
            "it, or give another --root."
        )

    return held(root / _RUN, busy=waiting or refuse)


def _refuse_wildcards(root: Path) -> None:
    """Beam and TensorFlow take paths of artifacts for patterns, and find other files or none."""
    path = str(root.resolve())
    if found := sorted(_WILDCARDS & set(path)):
        raise BadInput(
            f"The path of the root, {path}, has {' and '.join(found)}, which the libraries of a "
            "run take for a pattern of file names. Give --root a path without."
        )


def one_at_a_time(root: Path, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    """Hold the root for one change of its items.

    Args:
        root: an existing folder.
        waiting: called where another process holds it.

    Raises:
        BadInput: on entering, the folder can't be written.
    """
    return held(root / _ITEMS, busy=waiting)
