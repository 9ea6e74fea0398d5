"""Counts of a whole ingestion, and the checks that they have to pass.

The counts are made of tallies: small (key, value) pairs that travel as data of the Beam pipeline,
beside the rows they count. A row that a runner loses is then missed here, which a counter of the
worker that read it would not show.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict
from tfx.dsl.io import fileio

from components.ingestion.folder import ITEMS, DataFolder
from components.ingestion.reasons import in_words, most_told
from models.errors import BadInput, DebutError
from models.features import EVAL, NEW_ITEMS, TRAIN

SUMMARY_FILE: Final = "summary.json"
FIRST_ROWS: Final = 5  # row numbers kept for each reason

# Keys of tallies begin with one of these.
READ: Final = "read"  # + file
EMITTED: Final = "emitted"  # + file
REPLACED: Final = "replaced"  # + file
QUARANTINED: Final = "quarantined"  # + file, reason, column
SPLIT: Final = "split"  # + split
USERS_COUNT: Final = "users"
ITEMS_COUNT: Final = "items"
NEW_PRODUCTS: Final = "new_products"
HELD_OUT_ITEMS: Final = "held_out_items"

Tally = tuple[tuple[str, ...], tuple[int, list[int]]]  # key, (count, first row numbers)


class RatingScale(NamedTuple):
    """How ratings of the data become ratings in [0, 1]."""

    low: float
    high: float
    is_implicit: bool  # no ratings, or all alike: every interaction is a positive

    def apply(self, rating: float) -> float:
        """Maps a rating of the data."""
        return 1.0 if self.is_implicit else (rating - self.low) / (self.high - self.low)


class QuarantineReason(BaseModel):
    """Rows of one file that were set aside for the same reason."""

    model_config = ConfigDict(frozen=True)

    reason: str
    column: str  # empty where the whole row is at fault
    count: int
    first_rows: tuple[int, ...]  # numbers of rows of data: the header doesn't count


class FileCounts(BaseModel):
    """What became of the rows of one file: read = emitted + replaced + quarantined."""

    model_config = ConfigDict(frozen=True)

    name: str  # relative to the data folder
    table: str
    read: int
    emitted: int  # taken in
    replaced: int  # valid, but a later span has a newer row of the same id
    quarantined: int
    reasons: tuple[QuarantineReason, ...]  # the most frequent first

    @property
    def quarantined_share(self) -> float:
        """Of the rows read."""
        return self.quarantined / self.read if self.read else 0.0


class IngestionSummary(BaseModel):
    """The counts of one ingestion, as the quarantine artifact holds them."""

    model_config = ConfigDict(frozen=True)

    files: tuple[FileCounts, ...]
    splits: dict[str, int]  # interactions by split
    is_implicit: bool
    rating_min: float  # of the scale that is mapped to [0, 1]
    rating_max: float
    users: int  # with at least one valid interaction
    items: int  # of the catalogue
    new_products: int  # items without any interaction
    held_out_items: int  # items with interactions, held out as if new
    spans: tuple[int, ...] = ()  # with a file of interactions, rising; none where there are none


def summarise(
    folder: DataFolder, *, tallies: Iterable[Tally], scale: RatingScale
) -> IngestionSummary:
    """Builds the summary of an ingestion.

    Args:
      folder: what was read.
      tallies: one for each key.
      scale: the rating scale that was applied.
    """
    by_key = dict(tallies)

    def count(*key: str) -> int:
        return by_key.get(key, (0, []))[0]

    return IngestionSummary(
        files=tuple(
            _file_counts(file.name, table=file.table, by_key=by_key) for file in folder.files
        ),
        splits={split: count(SPLIT, split) for split in (TRAIN, EVAL, NEW_ITEMS)},
        is_implicit=scale.is_implicit,
        rating_min=scale.low,
        rating_max=scale.high,
        users=count(USERS_COUNT),
        items=count(ITEMS_COUNT),
        new_products=count(NEW_PRODUCTS),
        held_out_items=count(HELD_OUT_ITEMS),
        spans=folder.spans,
    )


def check_accounting(summary: IngestionSummary) -> None:
    """Checks that no row was lost or doubled on its way.

    Raises:
      DebutError: the counts of a file don't add up.
    """
    for file in summary.files:
        accounted = file.emitted + file.replaced + file.quarantined
        if file.read != accounted:
            raise DebutError(
                f"Rows of {file.name} don't add up: {file.read} read, but {file.emitted} taken in, "
                f"{file.replaced} replaced and {file.quarantined} set aside. The Beam runner lost "
                "or repeated rows, so nothing was written. Run again, or with "
                "--set run.beam_runner=direct."
            )
    taken = sum(file.emitted for file in summary.files if file.table == "interactions")
    written = sum(summary.splits.values())
    if taken != written:
        raise DebutError(
            f"{taken} interactions were taken in, but the splits hold {written}. The Beam runner "
            "lost or repeated rows, so nothing was written."
        )


def check_quarantine(summary: IngestionSummary, max_share: float) -> None:
    """Checks that not too many rows were set aside, and that enough is left to train on.

    Raises:
      BadInput: the share of a file's rows passes `max_share`, or nothing is left to train on.
    """
    for file in summary.files:
        if file.quarantined_share > max_share:
            raise BadInput(
                f"{file.quarantined} of {file.read} rows of {file.name} "
                f"({file.quarantined_share:.1%}) were set aside, more than "
                f"data.max_quarantined_share = {max_share:.1%}: {top_reasons(file.reasons)}. Rows "
                "are counted from 1 below the header. Mend them, or raise "
                "data.max_quarantined_share."
            )
    if not summary.items:
        reasons = "; ".join(
            top_reasons(file.reasons) for file in summary.files if file.table == ITEMS
        )
        raise BadInput(
            f"The catalogue is empty: every row of the items files was set aside ({reasons}). Rows "
            "are counted from 1 below the header. Mend them."
        )
    if not summary.splits[TRAIN]:
        raise BadInput(
            "No interaction is left to train on: "
            + ", ".join(f"{count} went to {split}" for split, count in summary.splits.items())
            + ". Add interactions, or lower data.new_item_share and data.eval_user_share."
        )


def write_summary(uri: str, summary: IngestionSummary) -> None:
    """Writes the summary into a quarantine artifact."""
    with fileio.open(f"{uri}/{SUMMARY_FILE}", "w") as file:
        file.write(summary.model_dump_json(indent=2))


def read_summary(uri: str) -> IngestionSummary:
    """Reads the summary of a quarantine artifact, given its URI."""
    with fileio.open(f"{uri}/{SUMMARY_FILE}", "r") as file:
        return IngestionSummary.model_validate_json(file.read())


def tally_line(tally: Tally) -> str:
    """Returns a tally as a line of text."""
    return json.dumps(tally)


def scale_line(scale: RatingScale) -> str:
    """Returns the rating scale as a line of text."""
    return json.dumps(scale._asdict())


def read_counts(path: str) -> tuple[list[Tally], RatingScale]:
    """Reads lines of tallies, one for each key, and the one of the rating scale."""
    with fileio.open(path, "r") as file:
        lines = [json.loads(line) for line in file]
    tallies = [
        (tuple(key), (count, rows))
        for key, (count, rows) in (line for line in lines if isinstance(line, list))
    ]
    (scale,) = (RatingScale(**line) for line in lines if isinstance(line, dict))
    return tallies, scale


def _file_counts(name: str, *, table: str, by_key: dict[tuple[str, ...], Any]) -> FileCounts:
    reasons = sorted(
        (
            QuarantineReason(reason=key[2], column=key[3], count=count, first_rows=tuple(rows))
            for key, (count, rows) in by_key.items()
            if key[:2] == (QUARANTINED, name)
        ),
        key=lambda reason: (-reason.count, reason.reason, reason.column),
    )
    return FileCounts(
        name=name,
        table=table,
        read=by_key.get((READ, name), (0, []))[0],
        emitted=by_key.get((EMITTED, name), (0, []))[0],
        replaced=by_key.get((REPLACED, name), (0, []))[0],
        quarantined=sum(reason.count for reason in reasons),
        reasons=tuple(reasons),
    )


def top_reasons(reasons: Sequence[QuarantineReason]) -> str:
    """The most frequent with their first rows, such as "price: not a number (2, rows 1, 4)".

    Args:
      reasons: the most frequent first.
    """
    return most_told([(_in_words(one), one.count) for one in reasons])


def _in_words(one: QuarantineReason) -> str:
    rows = ", ".join(map(str, one.first_rows)) + (", …" if one.count > FIRST_ROWS else "")
    return f"{in_words(one.reason, one.column)} ({one.count}, rows {rows})"
