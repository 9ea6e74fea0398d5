"""Which tests of a run by several processes go together, and which come first.

The tests of a file share fixtures, so they stay together; pytest-xdist calls that `loadfile`. Those
of `tests/models` that ask its served model stay together too, or every process would make one,
which takes half a minute.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

from xdist.scheduler import LoadFileScheduling

_ROOT: Final = Path(__file__).parents[1]
# A process that began with a long file near the end would go on alone.
_FIRST: Final = ("tests/end_to_end/", "tests/models/")
_SERVED: Final = re.compile(r"^def \w+\([^)]*\b(served|as_saved)\b", re.MULTILINE)


class Scheduling(LoadFileScheduling):
    """`loadfile`, but for the files that share the served model."""

    def _split_scope(self, nodeid: str) -> str:
        return together(super()._split_scope(nodeid))


@cache
def together(file: str) -> str:
    """What names the tests that go with those of a file; mostly the file.

    Args:
        file: path from the root of the project, with slashes.
    """
    folder = "tests/models"
    if not file.startswith(f"{folder}/") or not _SERVED.search((_ROOT / file).read_text()):
        return file
    return folder


def turn(file: str) -> int:
    """When the tests of a file have their turn: those of a lower number before."""
    places = [place for place, folder in enumerate(_FIRST) if file.startswith(folder)]
    return min(places, default=len(_FIRST))
