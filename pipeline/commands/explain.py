"""`debut explain`: asks a running server why a user gets an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from pipeline.commands.asking import print_json, server_options, user_options

if TYPE_CHECKING:
    from serving.client import Client

_MOST: Final = 10  # items of a history that the table shows


@click.command(
    epilog="""\b
Example:
  debut explain --user 12347 --item 22726"""
)
@user_options
@click.option("--item", required=True, metavar="ID", help="An item of the catalogue.")
@server_options
def explain(
    user: str, history: list[str], profile: str, item: str, client: Client, as_json: bool
) -> None:
    """Say what each item of the history and each word of an item adds to its score.

    A share is a part of what the history, or somebody's profile, adds in all. Ends with 4 where no
    server answers at --target.
    """
    [found] = client.explain([user], [item], history=[history], profile=[profile])
    if as_json:
        print_json(
            {
                "user_id": user,
                "item_id": item,
                "version": found.version,
                "score": found.score,
                "base": found.base,
                "evidence": found.evidence,
                "history": [{"item_id": one, "score": score} for one, score in found.history],
                "words": [{"word": word, "score": score} for word, score in found.words],
                "rest": found.rest,
            }
        )
        return
    from pipeline.commands.terminal import new_table, open_console, print_table

    console = open_console()
    total = found.score - found.base - found.evidence
    parts = new_table("part", "score")
    start, own = (
        ("an item that nothing speaks for", "the history")
        if any(score for _, score in found.history)
        else ("its place in the list for somebody unknown", "the profile")
    )
    parts.add_row(start, f"{found.base:+.4f}")
    parts.add_row("its first interactions", f"{found.evidence:+.4f}")
    parts.add_row(own, f"{total:+.4f}")
    parts.add_row("together", f"{found.score:+.4f}")
    print_table(console, f"{item} for {user}, version {found.version}", parts)
    words = [*found.words, ("(what no word adds)", found.rest)]
    for title, column, rows in (
        ("The history, by item", "item", _shown(found.history)),
        ("The same, by word of the item", "word", words),
    ):
        if not rows or not total:
            continue
        table = new_table(column, "score", "share")
        for one, score in rows:
            table.add_row(one, f"{score:+.4f}", f"{score / total:.1%}")
        print_table(console, title, table)


def _shown(history: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The items that add most, and the others together."""
    ordered = sorted(history, key=lambda pair: -abs(pair[1]))
    rest = ordered[_MOST:]
    if not rest:
        return ordered
    return [*ordered[:_MOST], (f"({len(rest)} more)", sum(score for _, score in rest))]
