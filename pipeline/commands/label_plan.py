"""`debut label-plan`: which new products to have labelled first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.asking import print_json
from pipeline.commands.configuring import root_option
from pipeline.commands.failures import debug_option, debugging

if TYPE_CHECKING:
    from pipeline.labelling import Wanted


@click.command(
    "label-plan",
    epilog="""\b
Examples:
  debut label-plan --root runs -k 50
  debut label-plan --root runs -k 500 --json""",
)
@root_option
@click.option(
    "-k", type=click.IntRange(min=1), default=20, show_default=True, help="Products to name."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@debug_option
def label_plan(root: Path, k: int, as_json: bool) -> None:
    """Name the new products whose first interactions would tell most, best first.

    Most is uncertain about them, and about many products like them. Of the newest pushed version.
    """
    from pipeline.commands.quiet import quiet
    from pipeline.commands.terminal import open_console

    with quiet(None, debug=debugging()), open_console().status("Reading"):
        from pipeline.labelling import read_label_plan

        found = read_label_plan(root, k)
    if as_json:
        print_json([wanted._asdict() for wanted in found])
        return
    _print(found)


def _print(found: list[Wanted]) -> None:
    from pipeline.commands.terminal import new_table, open_console, print_table

    table = new_table("item", "title", "uncertainty", "density", "left", numbers_from=2)
    for wanted in found:
        table.add_row(
            wanted.item_id, wanted.title, f"{wanted.uncertainty:.3f}", f"{wanted.density:.1f}",
            f"{wanted.left:.1%}",
        )  # fmt: skip
    print_table(open_console(), "To have labelled first", table)
