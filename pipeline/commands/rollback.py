"""`debut rollback` and `debut promote`: an earlier version, or the canary, becomes stable."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from pipeline.commands.configuring import root_option
from pipeline.commands.failures import debug_option, debugging


@click.command(
    epilog="""\b
Example:
  debut rollback 1764252000 --root runs --reason "recommends what is sold out" """
)
@click.argument("version")
@root_option
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in ML Metadata.")
@debug_option
def rollback(version: str, root: Path, reason: str) -> None:
    """Go back to an earlier version.

    Its content is pushed again under the newest number, as the stable version, and running servers
    take it up by themselves. A canary is dropped. The next run is compared with what is served
    then, and does not push the withdrawn model again. Ends with 2 where there is no such version,
    with 3 where another one was pushed meanwhile.
    """
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()):
        from pipeline.changes.going_back import roll_back

        done = roll_back(root, version, reason=reason)
    left = " and ".join(map(str, done.instead_of))
    click.echo(f"Pushed {done.version}, the same as version {done.base.name}, instead of {left}.")
    if done.has_dates:
        click.echo(
            "The dates of its rules are as of when that version was made; `debut items refresh "
            f"--root {shlex.quote(str(root))}` takes up today's."
        )


@click.command(
    epilog="""\b
Example:
  debut promote --root runs"""
)
@root_option
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in ML Metadata.")
@debug_option
def promote(root: Path, reason: str) -> None:
    """Make the canary the stable version.

    A running server moves the label when it reads models.config again. Ends with 2 where there is
    no canary.
    """
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()):
        from pipeline.changes.going_back import promote_canary

        version = promote_canary(root, reason=reason)
    click.echo(f"Version {version} is stable now.")
