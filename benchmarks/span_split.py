"""A data folder cut in two by time: what a shop has after one span, and after another one.

Whole variant groups lose all their interactions and play the new products of the span in which
their first hidden interaction lies. An item appears in the span of its first interaction. What a
model may use lies in `first` and `both`, each a data folder; the rest is for questions.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.cold_split import Event, draw_new_items, write_events
from components.ingestion.folder import INTERACTIONS, DataFile
from models.errors import BadInput

FIRST: Final = "first"
BOTH: Final = "both"
SPANS: Final = (1, 2)


@dataclass(frozen=True)
class Question:
    """Who bought which of a span's new products in that span.

    Attributes:
        candidates: ids of the new products, sorted.
        wanted: by a user with other interactions in the data of that time.
        history: these, oldest first: a later model is asked as of then.
    """

    candidates: list[str]
    wanted: dict[str, set[str]]
    history: dict[str, list[str]]


def cut(data: Path, out: Path, *, seed: int) -> dict[int, Question]:
    """Write the folders `first`, with span 1, and `both`, with two spans; return the questions.

    Args:
        data: a data folder without spans.
        out: made.
        seed: of the draw of the new products.

    Raises:
        BadInput: the folder can't be read, comes in spans, or all lies at one moment.
    """
    files, events, new = shop = draw_new_items(data, seed=seed)
    left = shop.left
    middle = float(np.median([event.timestamp for event in left]))

    def span(event: Event) -> int:
        return 1 if event.timestamp < middle else 2

    if {span(event) for event in left} != set(SPANS):
        raise BadInput(f"All interactions of {data} lie at one moment. Give data with a time.")
    item_span = _first(events, span, key=lambda event: event.item)
    user_span = _first(left, span, key=lambda event: event.user)
    for name, spans in ((FIRST, (1,)), (BOTH, SPANS)):
        for number in spans:
            target = out / name / f"span-{number}"
            target.mkdir(parents=True)
            for table, file in files.items():
                if table != INTERACTIONS:
                    of = user_span if "item_id" not in file.columns else item_span
                    _copy(file, target / f"{table}.csv", of, number)
            write_events(target / "interactions.csv", (e for e in left if span(e) == number))
    return {
        number: _question(
            [e for e in events if e.item in new and span(e) == number],
            {item for item in new if item_span.get(item) == number},
            [event for event in left if span(event) <= number],
        )
        for number in SPANS
    }


def _question(hidden: Iterable[Event], candidates: set[str], known: Iterable[Event]) -> Question:
    history: dict[str, list[str]] = {}
    for event in sorted(known, key=lambda event: event.timestamp):
        history.setdefault(event.user, []).append(event.item)
    wanted: dict[str, set[str]] = {}
    for event in hidden:
        if event.item in candidates and event.user in history:
            wanted.setdefault(event.user, set()).add(event.item)
    return Question(sorted(candidates), wanted, {user: history[user] for user in wanted})


def _first(
    events: Iterable[Event], span: Callable[[Event], int], *, key: Callable[[Event], str]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in events:
        found[key(event)] = min(span(event), found.get(key(event), SPANS[-1]))
    return found


def _copy(file: DataFile, target: Path, span_of: Mapping[str, int], span: int) -> None:
    """Rows of a span; an id that nothing is known of comes with the last one."""
    key = file.columns.index("item_id" if "item_id" in file.columns else "user_id")
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(file.columns)
        for row in file.rows():
            if row.fields is not None and span_of.get(row.fields[key], SPANS[-1]) == span:
                writer.writerow(row.fields)
