"""Reads the files of a data folder into keyed rows; rows wrong in themselves are set aside.

Defines what rows look like on their way through the pipeline. Each carries where it stands up to
the end, so that whatever sets it aside can name it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from components.ingestion import text
from components.ingestion.folder import USERS, DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import RowFault, row_parser
from components.ingestion.summary import READ

# File index, part of the file (None: all of it).
Place = tuple[int, int | None]
# Plain tuples, because Beam pickles named ones.
# File index, row number, line (0: none), the values of the record.
Located = tuple[int, int, int, tuple[Any, ...]]
# File index, row number, line, reason, column, value as shown.
Fault = tuple[int, int, int, str, str, str]

BY_ITEM: Final = "by_item"
BY_USER: Final = "by_user"
FAULTS: Final = "faults"
TALLIES: Final = "tallies"


def places(files: Sequence[DataFile]) -> list[Place]:
    """Everything that can be read apart."""
    return [(index, part) for index, file in enumerate(files) for part in file.parts()]


class ReadRows(beam.DoFn):
    """Reads one file, or a part of it, given the index of the file.

    A part is read by one worker, in order.

    Outputs:
      BY_ITEM: (item id, Located) of interactions, items and variant groups.
      BY_USER: (user id, Located) of users.
      FAULTS: Fault.
      TALLIES: the number of rows read.
    """

    def __init__(
        self, files: Sequence[DataFile], options: DataOptions, pseudonym_key: bytes | None
    ):
        self._files = files
        self._options = options
        self._pseudonym_key = pseudonym_key

    def process(self, place: Place) -> Iterator[Any]:
        """Reads the part to its end."""
        index, part = place
        file = self._files[index]
        parse = row_parser(file, self._options, self._pseudonym_key)
        is_secret = self._pseudonym_key is not None and file.names_users
        count = 0
        for number, line, fields in file.rows(part):
            count += 1
            try:
                key, values = parse(fields)
            except RowFault as fault:
                value = "" if is_secret else text.shown(fault.value)
                yield TaggedOutput(FAULTS, (index, number, line, fault.reason, fault.column, value))
                continue
            located = (key, (index, number, line, values))
            yield TaggedOutput(BY_USER, located) if file.table == USERS else located
        yield TaggedOutput(TALLIES, ((READ, file.name), (count, [])))
