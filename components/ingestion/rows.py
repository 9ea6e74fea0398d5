"""Validates a row of each table: text goes in, a typed record or a `RowFault` comes out.

A record is a plain tuple, (key, values), because millions of them cross Beam's coders. What needs
more than the row itself (an item outside the catalogue, a duplicate) is found by the joins.
"""

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

from dateutil.parser import isoparser
from pydantic import TypeAdapter

from components.ingestion import text
from components.ingestion.folder import INTERACTIONS, ITEMS, USERS, VARIANT_GROUPS, DataFile
from components.ingestion.options import DataOptions
from models.pseudonyms import pseudonym

MAX_ID_LENGTH: Final = 256
END_OF_TIME: Final = 4_102_444_800  # 2100-01-01: what lies beyond is in milliseconds, not seconds
_MAX_FLOAT32: Final = 3.4028234e38
_MIN_FLOAT32: Final = 1.1754944e-38  # above 0
# pandas makes floating point of flags with gaps.
_TRUE: Final = ("true", "1", "1.0")
_FALSE: Final = ("false", "0", "0.0")
_WORDS: Final = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)

# Reasons. They are shown to people as they stand.
COLUMN_COUNT: Final = "wrong number of columns"
QUOTING: Final = "malformed quoting"
EMPTY_ID: Final = "empty id"
TOO_LONG: Final = "too long"
NOT_A_NUMBER: Final = "not a number"
NOT_FINITE: Final = "not finite"
OUT_OF_RANGE: Final = "number out of range"
OUTSIDE_SCALE: Final = "outside the rating scale"
NOT_A_TIME: Final = "neither unix seconds nor ISO 8601"
TIME_OUT_OF_RANGE: Final = "timestamp out of range"
NEITHER_TRUE_NOR_FALSE: Final = "neither true nor false"
UNKNOWN_ITEM: Final = "item not in the catalogue"
DUPLICATE: Final = "duplicate id"

# pydantic's reader is by far the faster one; dateutil's knows every form of ISO 8601.
_DATETIME: Final = TypeAdapter(datetime)
_ISO_8601: Final = isoparser(sep="T")

Record = tuple[str, tuple[Any, ...]]
RowParser = Callable[[list[str] | None], Record]
"""Turns the fields of a row, None where they can't be told apart, into its record.

Raises RowFault.
"""


class RowFault(Exception):
    """A row can't be used; `value` may hold a raw user id."""

    def __init__(self, reason: str, column: str, value: str):
        super().__init__(reason)
        self.reason, self.column, self.value = reason, column, value


def row_parser(file: DataFile, options: DataOptions, pseudonym_key: bytes | None) -> RowParser:
    """Returns the parser of the rows of `file`.

    The records, by table:
      interactions: (item id, (user id, unix seconds, rating on the file's scale or 1.0, logged
        propensity or 0.0))
      items: (item id, (title, category, brand, description, price or None, whether it is available
        or None))
      users: (user id, (profile text,))
      variant_groups: (item id, (group id,))
    User ids are pseudonyms where a key is given.
    """
    return _PARSERS[file.table](file.columns, options, pseudonym_key)


def good_records(
    file: DataFile, options: DataOptions, pseudonym_key: bytes | None
) -> Iterator[Record]:
    """Yields the records of the rows that `row_parser` takes; ingestion tells of the others."""
    parse = row_parser(file, options, pseudonym_key)
    for row in file.rows():
        try:
            yield parse(row.fields)
        except RowFault:
            continue


def id_parser(file: DataFile, options: DataOptions) -> RowParser:
    """Returns a parser that looks at nothing but the item id; the records are (item id, ())."""
    return _IdParser(file.columns, options, None)


class _RowParser:
    """What the parsers share: columns by name, and the checks of a field."""

    def __init__(self, columns: tuple[str, ...], options: DataOptions, pseudonym_key: bytes | None):
        self._columns = columns
        self._position = {column: i for i, column in enumerate(columns)}
        self._options = options
        self._pseudonym_key = pseudonym_key

    def __call__(self, fields: list[str] | None) -> Record:
        if fields is None:
            raise RowFault(QUOTING, "", "")
        if len(fields) != len(self._columns):
            raise RowFault(COLUMN_COUNT, "", f"{len(fields)} instead of {len(self._columns)}")
        return self._parse(fields)

    def _parse(self, fields: list[str]) -> Record:
        raise NotImplementedError

    def _id(self, fields: list[str], column: str) -> str:
        value = fields[self._position[column]]
        if not value or value.isspace():
            raise RowFault(EMPTY_ID, column, value)
        if len(value) > MAX_ID_LENGTH:
            raise RowFault(TOO_LONG, column, value)
        if reason := text.fault(value, is_id=True):
            raise RowFault(reason, column, value)
        return value

    def _user(self, fields: list[str]) -> str:
        user = self._id(fields, "user_id")
        return user if self._pseudonym_key is None else pseudonym(self._pseudonym_key, user)

    def _text(self, fields: list[str], column: str) -> str:
        position = self._position.get(column)
        if position is None:
            return ""
        value = fields[position]
        if len(value) > self._options.max_text_length:
            raise RowFault(TOO_LONG, column, value)
        if reason := text.fault(value):
            raise RowFault(reason, column, value)
        return value

    def _sentences(self, fields: list[str], columns: list[str]) -> str:
        """Renders columns as "age: 24. occupation: technician."; empty ones are left out."""
        values = ((column, self._text(fields, column).strip()) for column in columns)
        return " ".join(f"{column}: {value}." for column, value in values if value)


class _InteractionParser(_RowParser):
    def _parse(self, fields: list[str]) -> Record:
        user = self._user(fields)
        item = self._id(fields, "item_id")
        timestamp = parse_timestamp(fields[self._position["timestamp"]])
        position = self._position.get("rating")
        rating = 1.0 if position is None else self._rating(fields[position])
        return item, (user, timestamp, rating, self._propensity(self._text(fields, "propensity")))

    def _rating(self, value: str) -> float:
        rating = parse_number(value, "rating")
        low, high = self._options.rating_min, self._options.rating_max
        if (low is not None and rating < low) or (high is not None and rating > high):
            raise RowFault(OUTSIDE_SCALE, "rating", value)
        return rating

    def _propensity(self, value: str) -> float:
        if not value or value.isspace():
            return 0.0
        propensity = parse_number(value, "propensity")
        if not _MIN_FLOAT32 <= propensity <= 1:
            raise RowFault(OUT_OF_RANGE, "propensity", value)
        return propensity


class _ItemParser(_RowParser):
    def __init__(self, columns: tuple[str, ...], options: DataOptions, pseudonym_key: bytes | None):
        super().__init__(columns, options, pseudonym_key)
        known = {"item_id", "title", "category", "brand", "description", "price", "available"}
        self._further = [column for column in columns if column not in known]

    def _parse(self, fields: list[str]) -> Record:
        item = self._id(fields, "item_id")
        description = self._text(fields, "description")
        further = self._sentences(fields, self._further)
        return item, (
            self._text(fields, "title"),
            self._text(fields, "category"),
            self._text(fields, "brand"),
            f"{description} {further}" if description and further else description or further,
            self._price(self._text(fields, "price")),
            self._available(self._text(fields, "available")),
        )

    def _price(self, value: str) -> float | None:
        if not value or value.isspace():
            return None
        price = parse_number(value, "price")
        if price < 0:
            raise RowFault(OUT_OF_RANGE, "price", value)
        return price

    def _available(self, value: str) -> bool | None:
        if not value or value.isspace():
            return None
        if (word := value.strip().lower()) not in _WORDS:
            raise RowFault(NEITHER_TRUE_NOR_FALSE, "available", value)
        return _WORDS[word]


class _IdParser(_RowParser):
    def _parse(self, fields: list[str]) -> Record:
        return self._id(fields, "item_id"), ()


class _UserParser(_RowParser):
    def __init__(self, columns: tuple[str, ...], options: DataOptions, pseudonym_key: bytes | None):
        super().__init__(columns, options, pseudonym_key)
        self._further = [column for column in columns if column != "user_id"]

    def _parse(self, fields: list[str]) -> Record:
        return self._user(fields), (self._sentences(fields, self._further),)


class _GroupParser(_RowParser):
    def _parse(self, fields: list[str]) -> Record:
        return self._id(fields, "item_id"), (self._id(fields, "group_id"),)


_PARSERS: Final[dict[str, type[_RowParser]]] = {
    INTERACTIONS: _InteractionParser,
    ITEMS: _ItemParser,
    USERS: _UserParser,
    VARIANT_GROUPS: _GroupParser,
}


def parse_number(value: str, column: str) -> float:
    """Returns a number that float32 can hold.

    Raises:
      RowFault: it is none, not finite, or too large.
    """
    try:
        number = _float(value)
    except ValueError:
        raise RowFault(NOT_A_NUMBER, column, value) from None
    if not math.isfinite(number):
        raise RowFault(NOT_FINITE, column, value)
    if abs(number) > _MAX_FLOAT32:
        raise RowFault(OUT_OF_RANGE, column, value)
    return number


def parse_timestamp(value: str) -> int:
    """Returns unix seconds from 1970 to 2099, fractions cut off.

    Digits alone are unix seconds, so `20111201` is a day in 1970. An ISO 8601 time without an
    offset is UTC, a date is its midnight.

    Raises:
      RowFault: it is neither, not finite, or outside those years.
    """
    try:
        seconds = _float(value)
    except ValueError:
        seconds = _iso_8601(value)
    if not math.isfinite(seconds):
        raise RowFault(NOT_FINITE, "timestamp", value)
    if not 0 <= seconds < END_OF_TIME:
        raise RowFault(TIME_OUT_OF_RANGE, "timestamp", value)
    return int(seconds)


def _float(value: str) -> float:
    # Python reads 1_000 and other scripts' digits as numbers; a file that has them means something
    # else, or is broken.
    if "_" in value or not value.isascii():
        raise ValueError(value)
    return float(value)


def _iso_8601(value: str) -> float:
    try:
        time = _DATETIME.validate_python(value)
    except ValueError:  # pydantic's ValidationError is one
        time = _rarer_iso_8601(value)
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _rarer_iso_8601(value: str) -> datetime:
    """Reads `+02`, `20240610T081500Z`, `24:00` and weeks, with spaces around and one for the T."""
    try:
        time: datetime = _ISO_8601.isoparse(value.strip().replace(" ", "T", 1))
    except ValueError:
        raise RowFault(NOT_A_TIME, "timestamp", value) from None
    except OverflowError:  # 24:00 of the calendar's last day
        raise RowFault(TIME_OUT_OF_RANGE, "timestamp", value) from None
    return time
