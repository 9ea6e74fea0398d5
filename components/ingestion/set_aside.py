"""Reads a file that arrives after a run, row by row and without Beam.

The rules for a row are those of a run; what breaks them is set aside with number and reason.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from components.ingestion import text
from components.ingestion.folder import DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import UNKNOWN_ITEM, Record, RowFault, RowParser
from components.ingestion.summary import FIRST_ROWS, QuarantineReason, top_reasons
from models.errors import BadInput


class SetAside(NamedTuple):
    """A row that can't be used; the fields of a line of the quarantine file."""

    file: str
    row: int  # of data, from 1
    line: int | None  # of the file, the header being 1; None where the format has no lines
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
    parse: RowParser,
    check: Callable[[str], None],
    is_secret: bool = False,
    remedy: str = "",
) -> tuple[list[Record], list[SetAside]]:
    """Reads all rows of a file.

    Args:
      file: a table of a data folder.
      options: of the run whose rules hold.
      parse: of the rows of the file.
      check: raises RowFault for an item id that can't be used.
      is_secret: whether the file holds user ids that must not be shown. Columns may be mixed up in
        a bad row, so any of its values may be one.
      remedy: what the message says besides of rows that can't be used.

    Raises:
      BadInput: too many rows were set aside, or no row is left.
    """
    found: list[Record] = []
    set_aside: list[SetAside] = []
    for row in _rows(file, parse, check, is_secret):
        if isinstance(row, SetAside):
            set_aside.append(row)
        else:
            found.append(row)
    _check_share(file, len(found), set_aside, options.max_quarantined_share, remedy)
    return found, set_aside


def known_to(catalogue: Collection[str]) -> Callable[[str], None]:
    """Returns a check for `read_records`: the model must know the item."""

    def check(item: str) -> None:
        if item not in catalogue:
            raise RowFault(UNKNOWN_ITEM, "item_id", item)

    return check


def _rows(
    file: DataFile, parse: RowParser, check: Callable[[str], None], is_secret: bool
) -> Iterator[Record | SetAside]:
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
    raise BadInput(
        f"{bad} of {bad + good} rows of {file.path} can't be used, more than "
        f"data.max_quarantined_share = {most:.1%}: {top_reasons(_counted(set_aside))}. Rows are "
        f"counted from 1 below the header.{_unknown(set_aside)} Mend them{remedy}."
    )


def _counted(set_aside: list[SetAside]) -> list[QuarantineReason]:
    rows = defaultdict[tuple[str, str], list[int]](list)
    for row in set_aside:
        rows[row.reason, row.column].append(row.row)
    return [
        QuarantineReason(
            reason=reason, column=column, count=len(found), first_rows=tuple(found[:FIRST_ROWS])
        )
        for (reason, column), found in sorted(rows.items(), key=lambda one: -len(one[1]))
    ]


def _unknown(set_aside: list[SetAside]) -> str:
    """Names of items that the model does not know, of those that may be shown."""
    names = [row.value for row in set_aside if row.reason == UNKNOWN_ITEM and row.value]
    named = ", ".join(dict.fromkeys(names))[:200]
    return f" The model does not know: {named}." if named else ""
