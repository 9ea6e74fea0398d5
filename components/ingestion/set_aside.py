"""Reads a file that arrives after a run, row by row and without Beam.

The rules for a row are those of a run; what breaks them is set aside with number and reason.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from components.ingestion import text
from components.ingestion.folder import INTERACTIONS, DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import UNKNOWN_ITEM, Record, RowFault, row_parser
from models.errors import BadInput


class SetAside(NamedTuple):
    """A row that can't be used; the fields of a line of the quarantine file."""

    file: str
    row: int  # of data, from 1
    line: int | None  # of the file, None where the format has no lines
    reason: str
    column: str
    value: str  # empty where it may hold a raw user id

    def to_json(self) -> str:
        """That line, without its end."""
        return json.dumps(self._asdict(), ensure_ascii=False)


def read_records(
    file: DataFile,
    options: DataOptions,
    *,
    check: Callable[[str], None],
    pseudonym_key: bytes | None = None,
    remedy: str = "",
) -> tuple[list[Record], list[SetAside]]:
    """Reads all rows of a file.

    Args:
      file: a table of a data folder.
      options: of the run whose rules hold.
      check: raises RowFault for an item id that can't be used.
      pseudonym_key: of that run, None where it kept the ids of users.
      remedy: what the message says besides of rows that can't be used.

    Raises:
      BadInput: too many rows were set aside, or no row is left.
    """
    found: list[Record] = []
    set_aside: list[SetAside] = []
    for row in _rows(file, options, pseudonym_key, check):
        if isinstance(row, SetAside):
            set_aside.append(row)
        else:
            found.append(row)
    _check_share(file, len(found), set_aside, options.max_quarantined_share, remedy)
    return found, set_aside


def _rows(
    file: DataFile,
    options: DataOptions,
    pseudonym_key: bytes | None,
    check: Callable[[str], None],
) -> Iterator[tuple[str, tuple[Any, ...]] | SetAside]:
    parse = row_parser(file, options, pseudonym_key)
    # Columns may be mixed up in a bad row, so any of its values may be a raw user id.
    is_secret = pseudonym_key is not None and file.table == INTERACTIONS
    for number, line, values in file.rows():
        try:
            item, record = parse(values)
            check(item)
            yield item, record
        except RowFault as fault:
            value = "" if is_secret else text.shown(fault.value)
            yield SetAside(file.name, number, line or None, fault.reason, fault.column, value)


def _check_share(
    file: DataFile, good: int, set_aside: list[SetAside], most: float, remedy: str
) -> None:
    bad = len(set_aside)
    if not bad + good:
        raise BadInput(f"{file.path} has a header but no rows. Add rows.")
    if bad / (bad + good) <= most and good:
        return
    first = set_aside[0]
    raise BadInput(
        f"{bad} of {bad + good} rows of {file.path} can't be used, more than "
        f"data.max_quarantined_share = {most:.1%}. The first is row {first.row} below the header: "
        f"{first.reason} ({first.column or 'the whole row'}).{_unknown(set_aside)} Mend "
        f"them{remedy}."
    )


def _unknown(set_aside: list[SetAside]) -> str:
    ids = [row.value for row in set_aside if row.reason == UNKNOWN_ITEM]
    named = ", ".join(dict.fromkeys(ids))[:200]
    return f" Items the model does not know: {named}." if ids else ""
