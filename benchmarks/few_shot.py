"""What the first interactions of new items bring: recall before and after `debut items add`.

New items are drawn as in `benchmarks.cold_split`, and a model is trained without their
interactions. Then the first few of each are given to it, and the later ones are asked for: of the
same items and the same users before and after.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np

from benchmarks.cold_split import Event, make_split, read_hidden, write_events
from benchmarks.command import debut
from benchmarks.intervals import interval
from benchmarks.quality import AT, listed_scores
from benchmarks.root_copy import copy_newest
from models.arrays import Doubles
from models.errors import BadInput
from models.inheritance.simulation import purchase_matrix
from models.ranking import ranking_quality
from models.shelf.pushed_columns import open_columns
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.demo import serving
from pipeline.layout import SAMPLE, serving_folder
from pipeline.newest import newest_version

# Later interactions that an item is asked by, at least.
LATER: Final = 3


class Support(NamedTuple):
    """What is given and what is asked, of the same items."""

    first: list[Event]
    later: list[Event]


class Found(NamedTuple):
    """Recall of each tested user before and after, float64 [B], and seconds of the command."""

    before: Doubles
    after: Doubles
    seconds: float


@click.command(name="few-shot")
@click.option("--data", type=PATH, default=SAMPLE, help="A data folder  [default: the sample]")
@click.option("--seed", default=101, show_default=True, help="Of the split.")
@click.option(
    "--first", "counts", type=click.IntRange(1), multiple=True, default=(1, 2, 5, 10),
    show_default=True, help="Interactions that are given of each item. Repeatable.",
)  # fmt: skip
@click.option("--keep", type=PATH, help="Keep split and root here, or take them from there.")
def few_shot(data: Path, seed: int, counts: Sequence[int], keep: Path | None) -> None:
    """Recall on new items before and after their first interactions are taken in."""
    console = open_console()
    table = new_table("first", "items", "users", f"recall@{AT} before", "after", "ratio", "seconds")
    with tempfile.TemporaryDirectory(prefix="debut-few-shot-") as scratch:
        work = keep or Path(scratch)
        split, root = work / "split", work / "root"
        if not split.exists():
            make_split(data, split, seed=seed)
        if not root.exists():
            with console.status("Training without the new items' interactions"):
                debut("run", f"--data={split / 'train'}", f"--root={root}")
        hidden = read_hidden(split)
        for count in counts:
            support = first_interactions(hidden, count)
            if not support.later:
                raise BadInput(f"No new item has more than {count} interactions. Give fewer.")
            with console.status(f"The first {count}"):
                found = _measured(root, support)
            one = np.ones_like(found.before)
            table.add_row(
                str(count), f"{len({event.item for event in support.later}):,}", f"{len(one):,}",
                interval([(found.before, one)]).shown(3), interval([(found.after, one)]).shown(3),
                f"{found.after.mean() / found.before.mean():.3f}", f"{found.seconds:.0f}",
            )  # fmt: skip
    print_table(console, "New items, by their later interactions", table)
    console.print(
        "± is half of the 95 % interval over users. Seconds are those of the whole `debut items "
        "add`, most of which its infra validation takes.",
        soft_wrap=True,
    )


def first_interactions(hidden: Sequence[Event], count: int) -> Support:
    """Part the interactions of new items in time.

    Args:
        hidden: of known users.
        count: how many come first, of each item.

    Returns:
        Both of the items that have at least `LATER` interactions more; what a user did with an
        item before is not asked again.
    """
    by_item: dict[str, list[Event]] = {}
    for event in sorted(hidden, key=lambda event: (event.timestamp, event.user, event.item)):
        by_item.setdefault(event.item, []).append(event)
    first, later = [], []
    for events in by_item.values():
        if len(events) >= count + LATER:
            first += events[:count]
            given = {event.user for event in events[:count]}
            later += [event for event in events[count:] if event.user not in given]
    return Support(first, later)


def _measured(root: Path, support: Support) -> Found:
    """Ask a copy of the root, give it the first interactions, ask it again."""
    with tempfile.TemporaryDirectory(prefix="debut-few-shot-") as scratch:
        copy = Path(scratch)
        copy_newest(root, copy)
        before = _recall(copy, support.later)
        file = copy / "first.csv"
        write_events(file, support.first)
        start = time.perf_counter()
        debut("items", "add", f"--root={copy}", f"--interactions={file}")
        seconds = time.perf_counter() - start
        return Found(before, _recall(copy, support.later), seconds)


def _recall(root: Path, later: Sequence[Event]) -> Doubles:
    """Of each user with later interactions, among the items that have any: float64 [B]."""
    users, user = np.unique([event.user for event in later], return_inverse=True)
    items, item = np.unique([event.item for event in later], return_inverse=True)
    wanted = purchase_matrix(user, item, (len(users), len(items))).toarray()
    column_of = {name: column for column, name in enumerate(items.tolist())}
    depth = len(open_columns(newest_version(serving_folder(root)))("item_id"))
    with serving(root) as client:
        scores = listed_scores(client, users.tolist(), column_of, k=depth, new_only=False)
    return ranking_quality(scores, wanted, AT)[0]
