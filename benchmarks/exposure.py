"""What evening out the exposure of new items costs, on held-out new items.

Ingestion and Transform run once, with a fifth of the items held out as if new by a hash of the
seed. The strength is chosen on a simulated launch, as a run does; the held-out items, of which
nothing has seen an interaction, tell what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.held_out import held_out
from benchmarks.prepared import prepare
from models.errors import BadInput
from models.exposure.balancing import FEWEST_ITEMS, Traded, strongest, traded
from models.inheritance.aligned_launch import AlignedLaunch
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table

_SHARE: Final = 0.2


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks exposure
  python -m benchmarks exposure --data shop --max-loss 0.05""",
)
@click.option("--data", type=PATH, help="A data folder  [default: the sample]")
@click.option("--seed", type=int, default=101, show_default=True, help="Of the held-out items.")
@click.option("--max-loss", type=float, default=0.03, show_default=True, help="Of recall@20.")
@click.option("--keep", type=PATH, help="Keep what Transform made in here, or take it from there.")
def exposure(data: Path | None, seed: int, max_loss: float, keep: Path | None) -> None:
    """Trade recall against even exposure of new items."""
    console = open_console()
    settings = [f"data.new_item_share={_SHARE}", f"data.split_salt=exposure-{seed}"]
    shop = prepare(console, data, keep, settings)
    validation, launch = shop.validation, held_out(shop.data, shop.options)
    simulated, launched = (
        traded(AlignedLaunch.align(one, shop.view, shop.kernel)) for one in (validation, launch)
    )
    if not simulated or not launched:
        raise BadInput(
            f"{len(validation.targets):,} simulated and {len(launch.targets):,} held-out new items "
            f"tell too little: {FEWEST_ITEMS} of each, and two users who want some, are needed. "
            "Give more data."
        )
    chosen = strongest(simulated, max_loss)
    print_table(console, f"{len(validation.targets):,} simulated new items", _table(simulated))
    print_table(console, f"{len(launch.targets):,} held-out new items", _table(launched))
    [before, *_], after = launched, next(one for one in launched if one.strength == chosen)
    console.print(
        f"Chosen on the simulated launch, where in 95 of 100 cases at most {max_loss:.0%} of the "
        f"recall is lost: {chosen:g}. On held-out items Gini {after.gini / before.gini - 1:+.1%}, "
        f"recall@20 {after.recall / before.recall - 1:+.1%}.",
        soft_wrap=True,
    )


def _table(points: Sequence[Traded]) -> Any:
    table = new_table("strength, logits", "recall@20", "NDCG@20", "Gini", "coverage", "Gini",
                      "recall@20", "at worst")  # fmt: skip
    first = points[0]
    for point in points:
        table.add_row(
            f"{point.strength:g}", f"{point.recall:.3f}", f"{point.ndcg:.3f}", f"{point.gini:.3f}",
            f"{point.coverage:.3f}", f"{point.gini / first.gini - 1:+.1%}",
            f"{point.recall / first.recall - 1:+.1%}", f"{point.least / first.recall - 1:+.1%}",
        )  # fmt: skip
    return table
