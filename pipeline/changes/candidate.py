"""A changed version in the making, and the model server that will try it.

The server loads the newest version while the changed one is made, and then of that the variables
alone. It is started before anything slow is imported: what makes the version needs TensorFlow,
whose import takes as long as the server's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from components.embedded_server import Started, embedded_server
from pipeline.layout import MODEL_NAME, change_folder, serving_folder
from pipeline.lock import one_at_a_time
from pipeline.newest import newest_version

NUMBER: Final = 2
"""Under which the server knows the candidate."""


class Candidate(NamedTuple):
    """One change of a root's newest version; meanwhile no other one begins.

    Attributes:
        root: that `debut run` was given.
        base: folder of the version that is changed.
        made: folder to write the new one to, which does not exist yet.
        tried: folder to move it to once it is whole: there the server finds it.
        server: of the two.
    """

    root: Path
    base: Path
    made: Path
    tried: Path
    server: Started


@contextmanager
def new_candidate(root: Path, *, waiting: Callable[[], None]) -> Iterator[Candidate]:
    """Begin to change the newest version under a root.

    Args:
        root: that `debut run` was given.
        waiting: called where another process is changing the root's version; this one waits.

    Raises:
        BadInput: nothing was pushed under `root`.
    """
    serving = serving_folder(root)
    newest_version(serving)
    with one_at_a_time(root, waiting), scratch_folder(change_folder(root)) as scratch:
        base, versions = newest_version(serving), scratch / MODEL_NAME
        versions.mkdir()
        (versions / str(NUMBER - 1)).symlink_to(base)
        with embedded_server(versions, MODEL_NAME) as server:
            yield Candidate(root, base, scratch / "made", versions / str(NUMBER), server)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for as long as a lock is held; what a killed process left there is removed.

    It is none of the system's temporary ones, because in those such remains pile up.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
