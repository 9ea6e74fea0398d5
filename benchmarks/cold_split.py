"""Item-cold splits: whole variant groups lose all their interactions, and play the new products.

A split is a folder: `train` is a data folder without the hidden interactions, `test.csv` holds
those of users who have some left, `split.json` the ids of the new items. What a method may use is
in `train` alone.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from components.ingestion.folder import (
    INTERACTIONS,
    ITEMS,
    VARIANT_GROUPS,
    DataFile,
    open_folder,
    open_table,
)
from components.ingestion.rows import RowFault, row_parser
from models.arrays import Doubles, Floats, Rows
from models.errors import BadInput
from models.inheritance.simulation import purchase_matrix
from models.inheritance.variants import variant_groups
from models.interactions import Interactions
from pipeline.config import load_configuration

SHARE: Final = 0.2  # of the items, about: groups are drawn
# The sample's own hidden purchases. They are brought back, and others are hidden.
_ANSWER_KEY: Final = "answer_key.csv.gz"
_COLUMNS: Final = ("user_id", "item_id", "rating", "timestamp")
_MOST_CHARACTERS: Final = 600  # of a description


class Event(NamedTuple):
    """One interaction, its rating on the scale of the file."""

    user: str
    item: str
    rating: float
    timestamp: int


class Ratings(NamedTuple):
    """N interactions by row.

    Attributes:
        user: int32 [N], rows of `ColdStart.user_ids`.
        item: int32 [N], rows of `ColdStart.item_ids`.
        rating: float64 [N], the scale of the train split mapped to [0, 1].
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: Doubles


@dataclass(frozen=True)
class ColdStart:
    """A split in memory: I items, U users with interactions left, B of them tested, C new items.

    Attributes:
        item_ids: I.
        texts: I, of title, category, brand and description.
        user_ids: U, sorted.
        candidates: int64 [C], rows of the new items.
        purchases: users x items of 0 and 1, the train split.
        tested: int64 [B], rows of the users that are asked for.
        wanted: float32 [B, C] of 0 and 1, the hidden interactions.
        train: the interactions that are left.
        test: those hidden ones whose users are known.
        is_explicit: ratings differ.
    """

    item_ids: Sequence[str]
    texts: Sequence[str]
    user_ids: Sequence[str]
    candidates: Rows
    purchases: sp.csr_matrix
    tested: Rows
    wanted: Floats
    train: Ratings
    test: Ratings
    is_explicit: bool


class DrawnShop(NamedTuple):
    """A data folder of which some items are to play the new ones.

    Attributes:
        files: by table.
        events: with items of the catalogue, in the order of the file.
        new: ids of the items that were drawn.
    """

    files: dict[str, DataFile]
    events: list[Event]
    new: frozenset[str]

    @property
    def left(self) -> list[Event]:
        """The events with other items."""
        return [event for event in self.events if event.item not in self.new]


def draw_new_items(data: Path, *, seed: int) -> DrawnShop:
    """Draw whole variant groups of a data folder by a hash of the seed.

    Groups are those of the folder's `variant_groups`; where it has none, those that
    `models.inheritance.variants` finds.

    Raises:
        BadInput: the folder can't be read, or comes in spans.
    """
    folder = open_folder(data)
    if folder.span:
        raise BadInput(f"{data} has spans. Give a folder without, such as one of them.")
    files = {file.table: file for file in folder.files}
    texts = _texts(files[ITEMS])
    events = [event for event in _events(files[INTERACTIONS]) if event.item in texts]
    if (data / _ANSWER_KEY).exists():
        events += _events(open_table(data / _ANSWER_KEY, INTERACTIONS))
    return DrawnShop(files, events, new_items(texts, _groups(files, texts, events), seed))


def make_split(data: Path, out: Path, *, seed: int) -> None:
    """Hide the drawn items' interactions.

    Raises:
        BadInput: the folder can't be read, or comes in spans.
    """
    shop = draw_new_items(data, seed=seed)
    users = {event.user for event in shop.left}
    train = out / "train"
    train.mkdir(parents=True)
    for table, file in shop.files.items():
        if table != INTERACTIONS:
            shutil.copy(file.path, train)
    write_events(train / "interactions.csv", shop.left)
    hidden = (e for e in shop.events if e.item in shop.new and e.user in users)
    write_events(out / "test.csv", hidden)
    (out / "split.json").write_text(json.dumps({"new_items": sorted(shop.new)}))


def _groups(
    files: Mapping[str, DataFile], texts: Mapping[str, str], events: Sequence[Event]
) -> dict[str, str]:
    """Item to its variant group: those of the folder, or else those that are found."""
    if VARIANT_GROUPS in files:
        return {item: str(values[0]) for item, values in _records(files[VARIANT_GROUPS])}
    return _found_groups(texts, events)


def new_items(ids: Iterable[str], groups: Mapping[str, str], seed: int) -> frozenset[str]:
    """The items whose group, or else whose own id, draws a number below `SHARE`."""

    def draw(text: str) -> float:
        return int(hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()[:8], 16) / 2**32

    return frozenset(item for item in ids if draw(groups.get(item, item)) < SHARE)


def read_hidden(split: Path) -> list[Event]:
    """The hidden interactions of a split, in the order of the file."""
    return list(_events(open_table(split / "test.csv", INTERACTIONS)))


def read_split(split: Path) -> ColdStart:
    """Read a split that `make_split` wrote.

    Raises:
        BadInput: a file is missing or can't be read, or no known user has a hidden interaction.
    """
    if not (split / "split.json").is_file():
        raise BadInput(f"{split} has no split.json. Give a folder that holds a split.")
    new = frozenset(json.loads((split / "split.json").read_text())["new_items"])
    files = {file.table: file for file in open_folder(split / "train").files}
    texts = _texts(files[ITEMS])
    left = [event for event in _events(files[INTERACTIONS]) if event.item in texts]
    hidden = read_hidden(split)
    item_row = {item: row for row, item in enumerate(texts)}
    user_ids = sorted({event.user for event in left})
    user_row = {user: row for row, user in enumerate(user_ids)}
    hidden = [event for event in hidden if event.user in user_row and event.item in new]
    if not hidden:
        raise BadInput(f"In {split} no user with interactions left has a hidden one. Hide others.")
    scale = (min(event.rating for event in left), max(event.rating for event in left))
    train, test = (_ratings(events, user_row, item_row, scale) for events in (left, hidden))
    shape = (len(user_ids), len(texts))
    candidates = np.array(sorted(item_row[item] for item in new), np.int64)
    tested = np.unique(test.user).astype(np.int64)
    wanted = purchase_matrix(test.user, test.item, shape)[tested][:, candidates].toarray()
    return ColdStart(
        item_ids=list(texts),
        texts=list(texts.values()),
        user_ids=user_ids,
        candidates=candidates,
        purchases=purchase_matrix(train.user, train.item, shape),
        tested=tested,
        wanted=wanted,
        train=train,
        test=test,
        is_explicit=scale[0] < scale[1],
    )


def _ratings(
    events: Sequence[Event],
    user_row: Mapping[str, int],
    item_row: Mapping[str, int],
    scale: tuple[float, float],
) -> Ratings:
    low, high = scale
    rating = np.array([event.rating for event in events])
    return Ratings(
        user=np.array([user_row[event.user] for event in events], np.int32),
        item=np.array([item_row[event.item] for event in events], np.int32),
        rating=(rating - low) / (high - low) if low < high else np.ones(len(events)),
    )


def _texts(items: DataFile) -> dict[str, str]:
    """Item id to text, in the order of the file; of an id that comes twice the first row counts."""
    texts: dict[str, str] = {}
    for item, (title, category, brand, description, *_) in _records(items):
        parts = (title, category, brand, description[:_MOST_CHARACTERS])
        texts.setdefault(item, " . ".join(parts))
    return texts


def _events(file: DataFile) -> Iterator[Event]:
    """Interactions in the order of the file."""
    for item, (user, timestamp, rating, _) in _records(file):
        yield Event(user, item, rating, timestamp)


def _records(file: DataFile) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """As ingestion reads them; rows that it would set aside are left out."""
    parse = row_parser(file, load_configuration().data.options(), None)
    for row in file.rows():
        try:
            yield parse(row.fields)
        except RowFault:
            continue


def write_events(file: Path, events: Iterable[Event]) -> None:
    """Write interactions as a table of a data folder."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        writer.writerows((e.user, e.item, f"{e.rating:g}", e.timestamp) for e in events)


def _found_groups(texts: Mapping[str, str], events: Sequence[Event]) -> dict[str, str]:
    """Item to the lowest id of its variants."""
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts.values())
    item_row = {item: row for row, item in enumerate(texts)}
    user_row = {user: row for row, user in enumerate({event.user for event in events})}
    none = np.zeros((len(events), 0))
    found = variant_groups(
        Interactions(
            user=np.array([user_row[event.user] for event in events], np.int32),
            item=np.array([item_row[event.item] for event in events], np.int32),
            rating=np.array([event.rating for event in events], np.float32),
            timestamp=np.array([event.timestamp for event in events], np.int64),
            history=none.astype(np.int32),
            history_rating=none.astype(np.float32),
            propensity=np.full(len(events), np.nan, np.float32),
            span=np.zeros(len(events), np.int32),
        ),
        words.tocsr(),
    )
    lowest: dict[int, str] = {}
    for item, group in sorted(zip(texts, found, strict=True)):
        lowest.setdefault(group, item)
    return {item: lowest[group] for item, group in zip(texts, found, strict=True)}
