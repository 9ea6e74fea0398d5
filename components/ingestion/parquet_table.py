"""Reads a Parquet file as rows of text, the way the same data would stand in a csv file.

So one set of rules validates both. Integers become their decimal text, nulls become empty text,
times outside the years 1 to 9999 their unix seconds. Times have the offset of their zone, or that
of UTC where Python knows no zone of the name, as of `Z`.
"""

from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingestion.csv_table import Row

_ROWS_AT_ONCE = 4096
_SECONDS_A_DAY = 86_400
_UNITS_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


def column_types(path: str) -> dict[str, pa.DataType]:
    """Returns the type of each column; of a dictionary-encoded one, that of its values."""
    schema = pq.ParquetFile(path).schema_arrow
    return {f.name.strip(): f.type.value_type if _is_dictionary(f.type) else f.type for f in schema}


def is_id(kind: pa.DataType) -> bool:
    """Tells whether ids of this type have one textual form: text does, floating point does not."""
    return _is_text(kind) or pa.types.is_integer(kind)


def is_scalar(kind: pa.DataType) -> bool:
    """Tells whether values of this type can be rendered as text."""
    known = (
        pa.types.is_boolean,
        pa.types.is_date,
        pa.types.is_decimal,
        pa.types.is_floating,
        pa.types.is_null,
        pa.types.is_timestamp,
    )
    return is_id(kind) or any(of_kind(kind) for of_kind in known)


def row_groups(path: str) -> int:
    """Counts the parts of a file that can be read apart."""
    return int(pq.ParquetFile(path).num_row_groups)


def read_parquet(path: str, group: int | None = None) -> Iterator[Row]:
    """Yields the header as row 0, then the data; lines are 0.

    Args:
      path: of the file.
      group: the only row group to read, whose rows keep their numbers in the file; None for all.

    Raises:
      OSError, pyarrow.ArrowException: the file can't be read.
    """
    file = pq.ParquetFile(path)
    yield Row(0, 0, list(file.schema_arrow.names))
    groups = range(file.num_row_groups) if group is None else [group]
    number = sum(file.metadata.row_group(before).num_rows for before in range(group or 0))
    for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=list(groups)):
        for fields in zip(*(_texts(column) for column in batch.columns), strict=True):
            number += 1
            yield Row(number, 0, list(fields))


def read_to_end(path: str) -> None:
    """Decodes every column to its end, where a damaged page shows.

    Raises:
      OSError, pyarrow.ArrowException: the file can't be read.
    """
    for _ in pq.ParquetFile(path).iter_batches():
        pass


def _texts(column: pa.Array) -> list[str]:
    if _is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        # As bytes, because Arrow does not promise that text is UTF-8.
        values = column.cast(pa.large_binary()).to_pylist()
        return ["" if v is None else v.decode("utf-8", "surrogateescape") for v in values]
    if pa.types.is_timestamp(column.type) and not _has_known_zone(column.type):
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times end at microseconds. A cast of a coarser unit could wrap around.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return [_text(value) for value in column.to_pylist()]
    except (OverflowError, ValueError):  # a time outside the years 1 to 9999
        return [_time_text(time) for time in column]


def _has_known_zone(kind: pa.DataType) -> bool:
    if kind.tz is None:
        return True
    try:
        pa.scalar(0, kind).as_py()
    except KeyError:  # pytz's error for a name that it does not know is one
        return False
    return True


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)


def _time_text(time: pa.Scalar) -> str:
    try:
        return _text(time.as_py())
    except (OverflowError, ValueError):
        return str(_unix_seconds(time))


def _unix_seconds(time: pa.Scalar) -> int:
    """Of a time that Python can't hold, and so far from any that is accepted."""
    if pa.types.is_date32(time.type):
        return int(time.cast(pa.int32()).as_py()) * _SECONDS_A_DAY
    unit = "ms" if pa.types.is_date64(time.type) else time.type.unit
    return int(time.cast(pa.int64()).as_py()) // _UNITS_A_SECOND[unit]


def _is_dictionary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )
