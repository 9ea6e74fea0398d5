"""`debut items`: products come, change and leave without training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.ingestion.reasons import in_words, most_told
from pipeline.commands.changing import changing
from pipeline.commands.configuring import PATH, configuration_options, root_option
from pipeline.commands.failures import debug_option
from pipeline.counted import counted

if TYPE_CHECKING:
    from pipeline.changes.adding import Pushed


@click.group(
    epilog="""\b
Examples:
  debut items add --root runs --items new.csv
  debut items remove --root runs --item 22726""",
)
@debug_option
def items() -> None:
    """Change what a pushed model knows of items, without training."""


@items.command(
    epilog="""\b
Examples:
  debut items add --root runs --items new.csv
  debut items add --root runs --items new.csv --interactions today.csv
  debut items add --root runs --items many.csv --set run.beam_runner=multi_process

Ends with 0 where a version was pushed, 2 for bad input, 3 where the gate or the infra validation
refused it."""
)
@root_option
@click.option(
    "--items",
    type=PATH,
    metavar="FILE",
    help="New or changed products: CSV, gzipped CSV or Parquet, with the columns of the data "
    "folder's items.",
)
@click.option(
    "--interactions",
    type=PATH,
    metavar="FILE",
    help="First interactions: the same, with the columns of the data folder's interactions.",
)
@configuration_options
@debug_option
def add(
    root: Path, items: Path | None, interactions: Path | None, config: Path | None,
    settings: tuple[str, ...],
) -> None:  # fmt: skip
    """Take new products and first interactions in, and push the result as a new version.

    A running server takes it up by itself. A product that the model knows is updated. What was
    taken in before is kept; the same interaction given again counts once.

    Of the options those of Beam are used, `run.beam_runner` and `run.beam_args`, where there are
    more than 10,000 products; how the data are read stays as it was in the run. --set takes no
    other option; a file may hold those of other commands.
    """
    if items is None and interactions is None:
        raise click.UsageError("Give --items, --interactions, or both.")
    from pipeline.config import load_configuration

    loaded = load_configuration(config, settings, read=("run.beam_runner", "run.beam_args"))
    _change(root, loaded.run.beam_pipeline_args, items=items, interactions=interactions)


@items.command(
    epilog="""\b
Examples:
  debut items remove --root runs --item 22726 --item 84406B
  debut items remove --root runs --items gone.csv

Ends as `debut items add` does."""
)
@root_option
@click.option("--item", "ids", multiple=True, metavar="ID", help="Repeatable.")
@click.option(
    "--items",
    type=PATH,
    metavar="FILE",
    help="CSV, gzipped CSV or Parquet with a column item_id.",
)
@debug_option
def remove(root: Path, ids: tuple[str, ...], items: Path | None) -> None:
    """Withdraw products from lists, and push the result as a new version.

    They are neither recommended nor named as similar. What users did with them still counts, and
    `debut items add` brings them back where the column `available` is true.
    """
    if items is None and not ids:
        raise click.UsageError("Give --item, --items, or both.")
    _change(root, withdrawn=ids, withdrawn_file=items)


@items.command(
    epilog="""\b
Example:
  debut items refresh --root runs

Ends as `debut items add` does."""
)
@root_option
@debug_option
def refresh(root: Path) -> None:
    """Take up what day it is, for the dates of the rules, and push the result as a new version.

    A version keeps the dates as they were when it was made, so that it answers the same every day.
    """
    _change(root)


def _change(root: Path, beam_args: Sequence[str] = (), **change: Any) -> None:
    from pipeline.commands.terminal import loading, open_console

    with changing(root) as candidate:
        with loading("TensorFlow", open_console()):
            from components.catalogue.update import Change
            from pipeline.changes.adding import change_items
        with open_console().status("Changing, validating and pushing"):
            pushed = change_items(candidate, Change(**change), beam_args=beam_args)
    for line in _told(pushed):
        click.echo(line)


def _told(pushed: Pushed) -> list[str]:
    done, told = pushed.updated, []
    if done.added or done.realigned or done.embedded:
        told.append(
            f"{_products(done.added)} added, {done.realigned + done.embedded:,} updated; "
            f"{done.embedding_seconds:.2f} s for their texts, {done.shelf_seconds:.2f} s for the "
            "shelf."
        )
    if done.interactions:
        told.append(
            f"{counted(done.interactions, 'interaction', 'interactions')} taken in: "
            f"{counted(done.adapted, 'item', 'items')} adapted, "
            f"{counted(done.purchases, 'purchase', 'purchases')} of known users noted."
        )
    if done.repeated:
        repeated = counted(done.repeated, "interaction", "interactions")
        told.append(f"{repeated} passed over: taken in before, or twice in the file.")
    if done.of_training:
        items = counted(done.of_training, "item was left as it is", "items were left as they are")
        told.append(
            f"{items}: put interactions with what training knew into the data folder, where the "
            "next run counts them."
        )
    if done.withdrawn:
        told.append(f"{_products(done.withdrawn)} withdrawn.")
    if done.set_aside:
        reasons = Counter(in_words(row.reason, row.column) for row in done.set_aside)
        most = most_told([(f"{why} ({count:,})", count) for why, count in reasons.most_common()])
        rows = counted(len(done.set_aside), "row", "rows")
        told.append(f"{rows} set aside: {most}. See {pushed.set_aside_file}.")
    return [*told, f"Pushed {pushed.made.version}, made of version {pushed.made.base.name}."]


def _products(number: int) -> str:
    return counted(number, "product", "products")
