"""What is written of a version once it is pushed: where that fails, the push stands all the same.

So the command tells it and goes on to the exit code of what became of the model. One that failed
would be given again, and `debut items add` would count its interactions twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pipeline.error_text import cause


@contextmanager
def told_where_it_fails(what: str, version: Path | None) -> Iterator[None]:
    """Say on stderr what of this could not be done, and why; the log gets the traceback.

    Args:
        what: is written here, such as "model card".
        version: folder that was pushed; None where nothing was.
    """
    try:
        yield
    except Exception as error:
        logging.exception("The %s could not be written", what)
        of = "The run's" if version is None else f"Version {version.name} is pushed, but its"
        click.echo(f"{of} {what} could not be written: {cause(error)}", err=True)
