"""How a command changes the newest version under a root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.failures import debugging

if TYPE_CHECKING:
    from pipeline.changes.candidate import Candidate


@contextmanager
def changing(root: Path) -> Iterator[Candidate]:
    """Begin to change it, with libraries off the terminal; says so where it has to wait.

    Raises:
        BadInput: nothing was pushed under `root`.
    """
    from pipeline.changes.candidate import new_candidate
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()), new_candidate(root, waiting=_say_waiting) as candidate:
        yield candidate


def _say_waiting() -> None:
    click.echo("Another command is changing this root's version; waiting for it.", err=True)
