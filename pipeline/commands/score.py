"""`debut score`: asks a running server what a user would rate items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.asking import print_json, server_options, user_options

if TYPE_CHECKING:
    from serving.client import Client


@click.command(
    epilog="""\b
Example:
  debut score --user 12347 --item 22726 --item 84406B"""
)
@user_options
@click.option("--item", "items", required=True, multiple=True, metavar="ID", help="Repeatable.")
@server_options
def score(
    user: str,
    history: list[str],
    profile: str,
    items: tuple[str, ...],
    client: Client,
    as_json: bool,
) -> None:
    """Predict what a user would rate items, from 0 to 1.

    Where nobody rates, it is the chance of a purchase beside an item drawn evenly. The score beside
    it is what lists are ranked by. Ends with 4 where no server answers at --target.
    """
    rows = len(items)
    scores = client.score(
        [user] * rows, list(items), history=[history] * rows, profile=[profile] * rows
    )
    scored = list(zip(items, scores.ratings, scores.scores, strict=True))
    if as_json:
        answers = [{"item_id": i, "rating": rating, "score": value} for i, rating, value in scored]
        print_json({"user_id": user, "version": scores.version, "items": answers})
        return
    from pipeline.commands.terminal import new_table, open_console, print_table

    table = new_table("item", "rating", "score")
    for item, rating, value in scored:
        table.add_row(item, f"{rating:.4f}", f"{value:.4f}")
    print_table(open_console(), f"{user}, version {scores.version}", table)
