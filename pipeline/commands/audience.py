"""`debut audience`: asks a running server who will like a product."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from models.errors import BadInput
from pipeline.commands.asking import length_option, print_json, print_ranked, server_options

if TYPE_CHECKING:
    from serving.client import Client


@click.command(
    epilog="""\b
Examples:
  debut audience --item 22726 -k 20
  debut audience --title "RED RETROSPOT TEAPOT" --price 7.95"""
)
@click.option("--item", metavar="ID", help="An item of the catalogue.")
@click.option("--title", metavar="TEXT", help="Of a product that need not be there.")
@click.option("--category", default="", metavar="TEXT", help="Its category.")
@click.option("--brand", default="", metavar="TEXT", help="Its brand.")
@click.option("--description", default="", metavar="TEXT", help="Its description.")
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    default=math.nan,
    show_default=False,
    metavar="NUMBER",
    help="Its price.",
)
@length_option
@server_options
def audience(
    item: str | None,
    title: str | None,
    category: str,
    brand: str,
    description: str,
    price: float,
    k: int,
    client: Client,
    as_json: bool,
) -> None:
    """Name the users who will like a product, best first, without those who bought it.

    Ends with 4 where no server answers at --target.
    """
    if bool(item) == bool(title):
        raise BadInput("Give --item ID, or --title TEXT of a product that need not be there.")
    if item:
        if category or brand or description or not math.isnan(price):
            raise BadInput(
                "--item says which product is meant, so its category, brand, description and price "
                "are those of the catalogue. Leave the others out, or give --title in its place."
            )
        [found] = client.audience([item], k=k)
    else:
        [found] = client.audience(
            titles=[title or ""], categories=[category], brands=[brand],
            descriptions=[description], prices=[price], k=k,
        )  # fmt: skip
    ranked = list(zip(found.user_ids, found.scores, strict=True))
    if as_json:
        users = [{"user_id": user, "score": score} for user, score in ranked]
        asked = {"item_id": item} if item else {"title": title}
        print_json(asked | {"version": found.version, "users": users})
        return
    if not ranked:
        click.echo(f"Everybody has bought {item or title}.")
        return
    print_ranked("user", ranked, title=f"{item or title}, version {found.version}")
