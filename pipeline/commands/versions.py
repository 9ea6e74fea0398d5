"""`debut versions`: what lies under `serving/debut`, and who is served which of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeline.commands.asking import print_json
from pipeline.commands.configuring import root_option
from pipeline.commands.failures import debug_option, debugging
from pipeline.counted import counted

if TYPE_CHECKING:
    from pipeline.versions import Version

_SHOWN: Final = 4  # metrics of a version; --json has all


@click.command(
    epilog="""\b
Example:
  debut versions --root runs"""
)
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@debug_option
def versions(root: Path, as_json: bool) -> None:
    """List the pushed versions, newest first.

    Where each came from, the days of its data, what its gates measured, its labels and its size. A
    request that names no version and no label gets the newest.
    """
    from pipeline.commands.quiet import quiet
    from pipeline.commands.terminal import open_console

    with quiet(None, debug=debugging()), open_console().status("Reading"):
        from pipeline.versions import read_versions

        found = read_versions(root)
    if as_json:
        print_json([asdict(version) for version in found])
        return
    _print(found)


def _print(found: list[Version]) -> None:
    from pipeline.commands.terminal import metric_words, new_table, open_console, print_table

    table = new_table("version", "pushed (UTC)", "by", "data", "metrics", "gates", "MB",
                      numbers_from=6)  # fmt: skip
    for version in found:
        marks = [
            *version.labels,
            *(["newest"] if version.is_newest else []),
            *(["withdrawn"] if version.withdrawn else []),
        ]
        table.add_row(
            "\n".join([str(version.version), *marks]),
            version.pushed.removesuffix("Z").replace("T", " "),
            _origin(version),
            " to ".join(version.data) if version.data else "–",
            "\n".join(
                f"{metric_words(name)} {value:.4f}"
                for name, value in list(version.metrics.items())[:_SHOWN]
            ),
            version.gates or "–",
            f"{version.megabytes:.1f}",
        )
    title = counted(len(found), "version", "versions")
    print_table(open_console(), f"{title}, newest first", table)


def _origin(version: Version) -> str:
    made_of = f", of {version.base}" if version.base is not None else ""
    reason = f": {version.reason}" if version.reason else ""
    return f"{version.by}{made_of}{reason}"
