"""`debut feedback`: from the log of what was shown and bought to the next span of data."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from models.pseudonyms import read_key
from pipeline.commands.configuring import PATH
from pipeline.commands.failures import debug_option
from pipeline.counted import counted


@click.group(
    epilog="""\b
Example:
  debut feedback export --log feedback --data shop --key SHOP_KEY""",
)
@debug_option
def feedback() -> None:
    """Use the log of what was shown, clicked and bought."""


@feedback.command(
    epilog="""\b
Example:
  debut feedback export --log feedback --data shop --key SHOP_KEY --event purchase --event click

Ends with 0, also where the log holds nothing new, and with 2 for bad input."""
)
@click.option("--log", type=PATH, required=True, metavar="DIR", help="Folder of the log.")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="A data folder with spans.")
@click.option(
    "--key",
    required=True,
    metavar="NAME",
    help="Environment variable with the key for user ids that the log was written with.",
)
@click.option(
    "--event",
    "kinds",
    type=click.Choice(["purchase", "click"]),
    multiple=True,
    default=["purchase"],
    show_default=True,
    help="What becomes an interaction. Repeatable.",
)
@debug_option
def export(log: Path, data: Path, key: str, kinds: tuple[str, ...]) -> None:
    """Make the next span of a data folder of what a log holds.

    Programs may write the log meanwhile; nothing counts twice.
    """
    secret = read_key(key)
    from pipeline.feedback_spans import BAD_LINES, export_span

    made = export_span(log, data, key=secret, kinds=kinds)
    if made.folder is None:
        click.echo(f"{log} holds no new {' or '.join(kinds)}: nothing was written.")
        return
    events = sorted(made.events.items())
    counts = ", ".join(counted(count, kind, f"{kind}s") for kind, count in events)
    new = counted(made.strangers, "user is", "users are")
    click.echo(f"{counts} written, {new} new.")
    if made.bad_lines:
        lines = counted(made.bad_lines, "line", "lines")
        click.echo(f"{lines} set aside, see {made.folder / BAD_LINES}.")
    if made.strangers == made.users:
        click.echo(
            f"No older span knows any of them. If one should, {key} is not the key that the log "
            f"was written with: remove {made.folder}, and export again with the right one."
        )
    click.echo(f"Made {made.folder}; `debut run --data {shlex.quote(str(data))}` trains on it.")
