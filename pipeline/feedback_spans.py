"""Turns a feedback log into the next span of a data folder.

A span lists the files of the log that it was made of, so that none counts twice and a command that
is interrupted can be given again. What came of a list has the propensity that the list was shown
with, whichever file that stands in.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ValidationError

from components.ingestion.folder import (
    INTERACTIONS,
    SPAN,
    DataFile,
    open_folder,
)
from components.ingestion.rows import good_records
from components.locks import held
from components.whole_folders import clear, put_at_once, written_beside
from models.errors import BadInput
from models.faults import require_folder
from models.pseudonyms import MARK, pseudonym
from pipeline.config import load_configuration
from serving.feedback.events import Action, Event, Impression
from serving.feedback.reading import BadLine, read_events, sealed_files

SOURCES: Final = "feedback.json"  # what a span was made of
BAD_LINES: Final = "feedback-bad-lines.jsonl"
_COLUMNS: Final = ("user_id", "item_id", "timestamp", "event", "propensity")

Place = tuple[str | None, str]  # id of a list, and an item


class _Sources(BaseModel):
    """What the file of that name holds."""

    files: list[str]


class NewSpan(NamedTuple):
    """What `export_span` did.

    Attributes:
        folder: of the span; None where the log holds nothing new.
        events: written, by kind.
        bad_lines: of the log, which are listed in the span.
        users: that these are of.
        strangers: those of them that no older span knows.
    """

    folder: Path | None
    events: dict[str, int]
    bad_lines: int
    users: int
    strangers: int


def export_span(log: Path, data: Path, *, key: bytes, kinds: Collection[str]) -> NewSpan:
    """Write what finished files of a log hold as a new span; it appears all at once.

    Users of older spans get their ids back, by the pseudonyms of these. Any other keeps its
    pseudonym, marked, so that a run with the same `data.pseudonym_key` does not hash it again.

    Args:
        log: folder of the log.
        data: data folder with spans.
        key: of the log.
        kinds: "click", "purchase" or both.

    Raises:
        BadInput: the data folder can't be read, has no spans or has ratings, a span does not say
            what it was made of, there is no log, or another export into the folder is under way.
    """
    require_folder(data, "data folder")
    with _alone(data):
        return _export(log, data, key, kinds)


def _alone(data: Path) -> AbstractContextManager[None]:
    def refuse() -> None:
        raise BadInput(
            f"Another `debut feedback export` into {data} is under way. Wait for it, then give the "
            "command again."
        )

    return held(data / ".export.lock", busy=refuse)


def _export(log: Path, data: Path, key: bytes, kinds: Collection[str]) -> NewSpan:
    """`export_span` while no other one goes on."""
    folder = open_folder(data)
    if not folder.span:
        raise BadInput(
            f"{data} has no spans. Move its files into {data / 'span-1'}, and the log becomes "
            "span-2."
        )
    known = [file for file in folder.files if file.table == INTERACTIONS]
    if any("rating" in file.columns for file in known):
        raise BadInput(
            f"{known[0].name} has ratings, and a log of clicks and purchases has none. Spans have "
            "ratings in all or in none of them."
        )
    spans = {int(match[1]): path for path in data.iterdir() if (match := SPAN.fullmatch(path.name))}
    done = {name for span in spans.values() for name in _sources(span)}
    sealed = sealed_files(log)
    files = [file for file in sealed if file.name not in done]
    # Also after one that has no tables, or is none.
    target = data / f"span-{max(spans) + 1}"
    clear(data)
    with written_beside(data) as hidden:
        hidden.mkdir()
        propensities = _propensities(sealed, {(a.list, a.item) for a in _actions(files, kinds)})
        made = _write(files, hidden, kinds, _users(known, key), propensities)
        if not made.events:
            return made
        sources = _Sources(files=[file.name for file in files])
        (hidden / SOURCES).write_text(sources.model_dump_json(), encoding="utf-8")
        put_at_once(hidden, target)
    return made._replace(folder=target)


def _sources(span: Path) -> list[str]:
    file = span / SOURCES
    if not file.exists():
        return []
    try:
        return _Sources.model_validate_json(file.read_bytes()).files
    except ValidationError as error:
        raise BadInput(
            f"{file} does not list the files of the log that its span was made of "
            f"({error.errors()[0]['msg']}). Correct it: it holds "
            '{"files": ["NAME.jsonl", ...]}, and what it leaves out is exported once more.'
        ) from error


def _users(files: list[DataFile], key: bytes) -> dict[str, str]:
    """Ids of the users of older spans by their pseudonyms."""
    # The options decide on ratings and long texts, which these files do not have.
    options = load_configuration().data.options()
    return {
        pseudonym(key, user): user
        for file in files
        for _, (user, *_) in good_records(file, options, None)
    }  # fmt: skip


def _events(files: Iterable[Path]) -> Iterator[Event | BadLine]:
    return (event for path in files for event in read_events(path))


def _actions(files: Iterable[Path], kinds: Collection[str]) -> Iterator[Action]:
    for event in _events(files):
        if isinstance(event, Action) and event.event in kinds:
            yield event


def _propensities(log: Iterable[Path], wanted: Collection[Place]) -> dict[Place, float]:
    """Those that some places of lists were shown with; a log is larger than what came of it."""
    return {
        (event.list, shown.item): shown.propensity
        for event in _events(log)
        if isinstance(event, Impression)
        for shown in event.items
        if (event.list, shown.item) in wanted
    }


def _write(
    files: list[Path], span: Path, kinds: Collection[str], users: Mapping[str, str],
    propensities: Mapping[Place, float],
) -> NewSpan:  # fmt: skip
    events: dict[str, int] = {}
    acting: set[str] = set()
    bad: list[BadLine] = []
    with gzip.open(span / f"{INTERACTIONS}.csv.gz", "wt", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for event in _events(files):
            if isinstance(event, BadLine):
                bad.append(event)
            elif isinstance(event, Action) and event.event in kinds:
                acting.add(event.user)
                user = users.get(event.user, MARK + event.user)
                propensity = propensities.get((event.list, event.item), "")
                table.writerow([user, event.item, int(event.time), event.event, propensity])
                events[event.event] = events.get(event.event, 0) + 1
    if bad:
        lines = (json.dumps(line._asdict()) for line in bad)
        (span / BAD_LINES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return NewSpan(None, events, len(bad), len(acting), len(acting - users.keys()))
