"""`debut items add`: first interactions of new items count at once, without training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeline.commands.failures import FailingGroup, debug_option, debugging

if TYPE_CHECKING:
    from pipeline.adding import Added

_PATH: Final = click.Path(path_type=Path)
_REASONS: Final = 3


@click.group(
    cls=FailingGroup,
    epilog="""\b
Example:
  debut items add --root runs --interactions today.csv""",
)
@debug_option
def items() -> None:
    """Change what a pushed model knows of items, without training."""


@items.command(
    epilog="""\b
Example:
  debut items add --root runs --interactions today.csv

Ends with 0 where a version was pushed, 2 for bad input, 3 where the gate or the infra validation
refused it."""
)
@click.option(
    "--root",
    type=_PATH,
    required=True,
    metavar="DIR",
    help="The folder that `debut run` was given.",
)
@click.option(
    "--interactions",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="CSV, gzipped CSV or Parquet, with the columns of the data folder's interactions.",
)
@debug_option
def add(root: Path, interactions: Path) -> None:
    """Take the first interactions of new items in, and push the result as a new version.

    A running server takes it up by itself. Give every interaction once: what was taken in before
    is kept, and would count twice.
    """
    from pipeline.commands.console import open_console
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()):
        with open_console().status("Loading TensorFlow"):
            from pipeline.adding import add_interactions
        with open_console().status("Adapting, validating and pushing"):
            added = add_interactions(root, interactions)
    for line in _told(added):
        click.echo(line)


def _told(added: Added) -> list[str]:
    taken = [
        f"{added.interactions:,} interactions taken in: {added.adapted:,} items adapted "
        f"in {added.seconds:.2f} s, {added.purchases:,} purchases of known users noted."
    ]
    if added.of_training:
        taken.append(
            f"{added.of_training:,} items were left as they are: training knew them. Their "
            "interactions count in the next run."
        )
    if added.set_aside:
        counts = Counter((row.column, row.reason) for row in added.set_aside)
        most = "; ".join(
            f"{column + ': ' if column else ''}{reason} ({count})"
            for (column, reason), count in counts.most_common(_REASONS)
        )
        taken.append(
            f"{len(added.set_aside):,} rows set aside: {most}. See {added.set_aside_file}."
        )
    return [*taken, f"Pushed {added.version}, made of version {added.base.name}."]
