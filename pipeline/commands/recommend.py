"""`debut recommend`: asks a running server for a user's list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.asking import (
    length_option,
    print_json,
    print_ranked,
    server_options,
    user_options,
)

if TYPE_CHECKING:
    from serving.client import Client


@click.command(
    epilog="""\b
Example:
  debut recommend --user 12347 --history 22726,22728 -k 5 --new-only"""
)
@user_options
@length_option
@click.option("--new-only", is_flag=True, help="Only items without interactions in the data.")
@server_options
def recommend(
    user: str,
    history: list[str],
    profile: str,
    k: int,
    new_only: bool,
    client: Client,
    as_json: bool,
) -> None:
    """Recommend items to a user, best first.

    Ends with 4 where no server answers at --target.
    """
    [ranking] = client.recommend(
        [user], history=[history], profile=[profile], k=k, new_only=new_only
    )
    ranked = list(zip(ranking.item_ids, ranking.scores, strict=True))
    if as_json:
        items: list[dict[str, object]] = [
            {"item_id": item, "score": score} for item, score in ranked
        ]
        if ranking.propensities is not None:
            for item, propensity in zip(items, ranking.propensities, strict=True):
                item["propensity"] = propensity
        print_json({"user_id": user, "version": ranking.version, "items": items})
        return
    if not ranked:
        click.echo(f"Nothing is left to recommend to {user}.")
        return
    print_ranked("item", ranked, title=f"{user}, version {ranking.version}")
