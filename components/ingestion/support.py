"""Reads interactions that arrive after a run, row by row and without Beam: they are few.

The rules for a row are those of a run. What a run knows of the whole data, the rating scale and the
catalogue, is given.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from components.ingestion import text
from components.ingestion.folder import DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import UNKNOWN_ITEM, RowFault, row_parser
from components.ingestion.summary import RatingScale
from models.errors import BadInput
from models.intake import FirstInteraction


class SetAside(NamedTuple):
    """A row that can't be used; the fields of a line of the quarantine file."""

    file: str
    row: int  # of data, from 1
    line: int | None  # of the file, None where the format has no lines
    reason: str
    column: str
    value: str  # empty where it may hold a raw user id


class Support(NamedTuple):
    """What a file of interactions holds."""

    interactions: list[FirstInteraction]
    set_aside: list[SetAside]


def read_support(
    file: DataFile,
    *,
    options: DataOptions,
    scale: RatingScale,
    catalogue: Collection[str],
    pseudonym_key: bytes | None,
) -> Support:
    """Reads a file of interactions.

    Args:
      file: of the table `interactions`.
      options: of the run whose model is to take them in.
      scale: of that run's ratings.
      catalogue: ids of the items that the model knows.
      pseudonym_key: of that run, None where it kept the ids.

    Raises:
      BadInput: the run had ratings and the file has none; too many rows were set aside; or no row
        is left.
    """
    if not scale.is_implicit:
        if "rating" not in file.columns:
            raise BadInput(
                f"{file.path} has no column rating, but the data that the model was trained on has "
                "one. Add the column."
            )
        options = options.model_copy(update={"rating_min": scale.low, "rating_max": scale.high})
    found = Support([], [])
    for row in _rows(file, options, pseudonym_key, catalogue):
        if isinstance(row, SetAside):
            found.set_aside.append(row)
        else:
            item, (user, timestamp, rating) = row
            found.interactions.append(FirstInteraction(item, user, timestamp, scale.apply(rating)))
    _check(file, found, options.max_quarantined_share)
    return found


def _rows(
    file: DataFile, options: DataOptions, pseudonym_key: bytes | None, catalogue: Collection[str]
) -> Iterator[tuple[str, tuple[Any, ...]] | SetAside]:
    parse = row_parser(file, options, pseudonym_key)
    for number, line, values in file.rows():
        try:
            item, record = parse(values)
            if item not in catalogue:
                raise RowFault(UNKNOWN_ITEM, "item_id", item)
            yield item, record
        except RowFault as fault:
            # Columns may be mixed up in a bad row, so any of its values may be a raw user id.
            value = "" if pseudonym_key is not None else text.shown(fault.value)
            yield SetAside(file.name, number, line or None, fault.reason, fault.column, value)


def _check(file: DataFile, found: Support, most: float) -> None:
    bad = len(found.set_aside)
    total = bad + len(found.interactions)
    if not total:
        raise BadInput(f"{file.path} has a header but no rows. Add rows.")
    if bad / total <= most and found.interactions:
        return
    first = found.set_aside[0]
    unknown = [row.value for row in found.set_aside if row.reason == UNKNOWN_ITEM]
    named = f" Items the model does not know: {', '.join(dict.fromkeys(unknown))[:200]}."
    raise BadInput(
        f"{bad} of {total} rows of {file.path} can't be used, more than data.max_quarantined_share "
        f"= {most:.1%}. The first is row {first.row} below the header: {first.reason} "
        f"({first.column or 'the whole row'}).{named if unknown else ''} Mend them; an item must "
        "be in the catalogue of the run."
    )
