"""`debut doctor`: prints what `pipeline.doctor` finds."""

from __future__ import annotations

from typing import Final

import click

from pipeline.commands.failures import debug_option, debugging

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(
    epilog="""\b
Example:
  debut doctor && debut run"""
)
@debug_option
def doctor() -> None:
    """Check this machine, and say what to do.

    Ends with 1 where something fails that Debut can't do without.
    """
    from rich.text import Text

    from pipeline.commands.quiet import quiet
    from pipeline.commands.terminal import new_table, open_console
    from pipeline.doctor import FAIL, examine

    console = open_console()
    table = new_table("check", "", "found", "what to do", numbers_from=4)
    with console.status("Checking"), quiet(None, debug=debugging()):
        findings = examine()
    for finding in findings:
        status = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(finding.check, status, finding.found, finding.remedy)
    console.print(table)
    failed = [finding.check for finding in findings if finding.status == FAIL]
    if failed:
        click.echo(f"Error: {', '.join(failed)}: see what to do above.", err=True)
        raise SystemExit(1)
