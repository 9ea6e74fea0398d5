"""Reads a csv file row by row, with row and line numbers, and loses no row to a stray quote.

An opening quote that is never closed makes a csv reader swallow the lines that follow. Here such a
line is one malformed row, and reading goes on with the line after it.
"""

import csv
import gzip
import io
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

# Python's csv refuses a NUL before 3.11; a lone surrogate that decoding never makes stands for it.
NUL = "\udc00"
# Characters of a field. What is over-long is for the rules of a row to say, and Python's own limit,
# 131,072, would keep it from them. Where a quote is never closed the reader goes on as far as this.
_FIELD_LIMIT = 1 << 24


class Row(NamedTuple):
    """One record of a table."""

    number: int  # 1 is the first row of data, 0 the header; blank lines don't count
    line: int  # of the file, where the record begins, from 1; 0 where the format has no lines
    fields: list[str] | None  # None where quoting is malformed


class _Lines:
    """The lines of a file; those of the record being read can be read once more."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._again: deque[str] = deque()
        self.record: list[str] = []
        self.count = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._stream)
        self.record.append(line)
        self.count += 1
        return line.replace("\0", NUL) if "\0" in line else line

    def keep_first_only(self) -> None:
        """Puts all lines of the record but its first back."""
        rest = self.record[1:]
        self._again.extendleft(reversed(rest))
        self.count -= len(rest)


def read_csv(path: str) -> Iterator[Row]:
    """Yields the header as row 0, then the data.

    Bytes that are not UTF-8 come as the lone surrogates U+DC80 to U+DCFF.

    Args:
      path: a file that is gzip where the name ends in `.gz`.

    Raises:
      csv.Error: the header can't be read.
      OSError, EOFError, zlib.error: the file can't be read, or its gzip stream is broken.
    """
    with (
        gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as raw,
        io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="") as stream,
    ):
        csv.field_size_limit(_FIELD_LIMIT)  # of the process; there is no other
        lines = _Lines(stream)
        reader = csv.reader(lines, strict=True)
        number, width = 0, 0
        while True:
            lines.record.clear()
            line = lines.count + 1
            fields: list[str] | None
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                if not width:
                    raise
                fields = None
            if fields == []:  # a blank line
                continue
            if not width and fields:
                width = len(fields)
            elif len(lines.record) > 1 and (fields is None or len(fields) != width):
                fields = None
                lines.keep_first_only()
            yield Row(number, line, fields)
            number += 1


def read_to_end(path: str) -> None:
    """Decompresses a gzip file to its end, where a cut or damaged one shows.

    Raises:
      OSError, EOFError, zlib.error: the stream is broken.
    """
    with gzip.open(path, "rb") as stream:
        while stream.read(1 << 20):
            pass
