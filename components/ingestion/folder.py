"""Finds the tables of a data folder and refuses, before anything is computed, what can't be read.

Faults of a whole file are found here and stop the run. Faults of single rows are not looked for:
`components.ingestion.rows` sets those aside. With spans a table is the union of its files.
"""

import csv
import hashlib
import hmac
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from components.ingestion import csv_table, parquet_table, text
from components.ingestion.csv_table import Row
from components.own_code import code_digest
from models.digests import file_digest
from models.errors import BadInput
from models.faults import require_folder

INTERACTIONS: Final = "interactions"
ITEMS: Final = "items"
USERS: Final = "users"
VARIANT_GROUPS: Final = "variant_groups"

# The order is that of blame: a bad items file makes interactions bad, not the other way round.
REQUIRED_COLUMNS: Final = {
    ITEMS: ("item_id", "title"),
    USERS: ("user_id",),
    VARIANT_GROUPS: ("item_id", "group_id"),
    INTERACTIONS: ("user_id", "item_id", "timestamp"),
}
_ID_COLUMNS: Final = ("user_id", "item_id", "group_id")
_SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
SPAN: Final = re.compile(r"span-(\d+)")
"""Names of the folders of spans."""
_UNREADABLE: Final = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


@dataclass(frozen=True)
class DataFile:
    """One file of a data folder."""

    table: str  # one of the keys of REQUIRED_COLUMNS
    span: int  # 0 where the folder has no spans
    name: str  # relative to the data folder, as messages show it
    path: str
    columns: tuple[str, ...]

    @property
    def names_users(self) -> bool:
        """Whether a row may hold the id of a user: in any column, where a bad one mixes them up."""
        return self.table in (INTERACTIONS, USERS)

    def parts(self) -> Sequence[int | None]:
        """What can be read apart: the row groups of a Parquet file; None is a whole file."""
        if not _is_parquet(self.path):
            return [None]
        return range(parquet_table.row_groups(self.path))

    def rows(self, part: int | None = None) -> Iterator[Row]:
        """Yields the rows of data, numbered from 1 in the whole file, or those of one part."""
        rows = _read(self.path, part)
        next(rows)  # the header
        return rows


@dataclass(frozen=True)
class DataFolder:
    """The files of a data folder, by table, then by span from old to new."""

    path: str
    files: tuple[DataFile, ...]

    @property
    def span(self) -> int:
        """The newest span, 0 where the folder has none."""
        return max(file.span for file in self.files)

    @property
    def spans(self) -> tuple[int, ...]:
        """Those with a file of interactions, rising; none where the folder has none."""
        found = {file.span for file in self.files if file.table == INTERACTIONS}
        return tuple(sorted(found - {0}))


def open_folder(path: str | Path) -> DataFolder:
    """Finds and checks the files of a data folder.

    Every file is read to its end, so that a truncated one is found now. That costs one pass of
    decompression.

    Raises:
      BadInput: the folder, a file or a column is missing, can't be read or holds no rows, or a
        table stands there twice. The message names the file, the column and the remedy.
    """
    root = Path(path)
    with _reachable(root):
        require_folder(root, "data folder")
        files = [
            _open_file(root, found, table=table, span=span, required=REQUIRED_COLUMNS[table])
            for table in REQUIRED_COLUMNS
            for span, folder in _span_folders(root)
            if (found := _find(root, folder, table)) is not None
        ]
        for table in (ITEMS, INTERACTIONS):
            _require_rows(root, [file for file in files if file.table == table], table)
    _require_ratings_in_all_or_none([file for file in files if file.table == INTERACTIONS])
    return DataFolder(str(root), tuple(files))


def open_table(path: Path, table: str, *, required: Sequence[str] | None = None) -> DataFile:
    """Checks one file of a table, whatever its name is before the suffix.

    Args:
      path: of the file.
      table: one of the keys of REQUIRED_COLUMNS.
      required: columns, where they are not those of the table.

    Raises:
      BadInput: the file or a column is missing, or it can't be read.
    """
    with _reachable(path):
        if not path.exists():
            raise BadInput(f"The file {path} does not exist. Give the path of a file.")
    if not path.name.endswith(_SUFFIXES):
        raise BadInput(
            f"{path} is none of {', '.join(_SUFFIXES)}. Give a file in one of these formats."
        )
    needed = REQUIRED_COLUMNS[table] if required is None else required
    with _reachable(path):
        return _open_file(path.parent, path, table=table, span=0, required=needed)


def fingerprint(folder: DataFolder, pseudonym_key: bytes | None = None) -> str:
    """Returns a hash of the files, names and contents, of the key for user ids and of the code.

    It is an execution property of the component: TFX's cache sees by it that data changed, or what
    is made of it, here and in the nodes that follow. The key goes in because a new key changes
    every user id; it can't be had back from the hash.
    """
    digest = hashlib.sha256(code_digest())
    for file in folder.files:
        digest.update(f"{file.name}:{file_digest(Path(file.path))}\n".encode())
    if pseudonym_key is not None:
        digest.update(hmac.digest(pseudonym_key, b"fingerprint", "sha256"))
    return digest.hexdigest()


@contextmanager
def _reachable(path: Path) -> Iterator[None]:
    """Refuses what the system does not let this process look at."""
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{path} can't be looked into ({error}). Give the user that runs this the right to "
            "read it, or give another path."
        ) from error


def _span_folders(root: Path) -> list[tuple[int, Path]]:
    spans: dict[int, Path] = {}
    for folder in sorted(root.iterdir()):
        if not (match := SPAN.fullmatch(folder.name)):
            continue
        _require_target(folder)
        if folder.is_dir():
            number = int(match[1])
            if not number:
                raise BadInput(f"{root} holds {folder.name}. Spans count from 1: rename it.")
            if number in spans:
                raise BadInput(
                    f"{root} holds span {number} twice, as {spans[number].name} and "
                    f"{folder.name}. Keep one of them."
                )
            spans[number] = folder
    if not spans:
        return [(0, root)]
    beside = [found for table in REQUIRED_COLUMNS if (found := _find(root, root, table))]
    if beside:
        raise BadInput(
            f"{root} holds {beside[0].name} beside span folders. Move it into the span it "
            "belongs to."
        )
    return sorted(spans.items())


def _require_target(path: Path) -> None:
    """Refuses a link to nothing, which looks as if there were no such file."""
    if path.is_symlink() and not path.exists():
        raise BadInput(
            f"{path} can't be read: it is a link to {path.readlink()}, which is not there. Put "
            "that back, or remove the link."
        )


def _find(root: Path, folder: Path, table: str) -> Path | None:
    found = []
    for path in (folder / (table + end) for end in _SUFFIXES):
        _require_target(path)
        if path.exists():
            found.append(path)
    if len(found) > 1:
        names = " and ".join(str(path.relative_to(root)) for path in found)
        raise BadInput(f"{root} holds {names}: one table, two files. Keep one of them.")
    return found[0] if found else None


def _open_file(
    root: Path, path: Path, *, table: str, span: int, required: Sequence[str]
) -> DataFile:
    name = str(path.relative_to(root))
    if not path.is_file():
        raise BadInput(f"{name} in {root} is a folder. Write the table into one file.")
    try:
        columns = next((row.fields for row in _read(str(path))), None)
        _read_to_end(path)
    except PermissionError:
        raise  # no fault of the file: see `_reachable`
    except _UNREADABLE as error:
        raise BadInput(
            f"{name} in {root} can't be read ({error}). The file is damaged, cut off or in another "
            f"format than its name says: write it again as one of {', '.join(_SUFFIXES)}."
        ) from error
    if not columns:
        raise BadInput(
            f"{name} in {root} is empty. Its first line must name the columns "
            f"{', '.join(required)}."
        )
    columns = [column.strip() for column in columns]
    _check_columns(columns, required=required, name=f"{name} in {root}")
    if _is_parquet(path):
        _check_types(parquet_table.column_types(str(path)), name=f"{name} in {root}")
    return DataFile(table, span, name, str(path), tuple(columns))


def _check_columns(columns: list[str], *, required: Sequence[str], name: str) -> None:
    # The columns aren't shown: they are bytes of another encoding, or of a compressed file.
    if any(text.fault(column) is not None for column in columns):
        raise BadInput(
            f"The header of {name} is not UTF-8 text. Save the file as UTF-8, and as plain text "
            "unless its name ends in .gz."
        )
    found = ", ".join(columns)
    for column in required:
        if column not in columns:
            raise BadInput(
                f"{name} has no column {column}; it has: {found}. Add or rename the column "
                "(columns are separated by commas)."
            )
    for column in columns:
        if not column:
            raise BadInput(
                f"Column {columns.index(column) + 1} of {name} has no name; the header is: "
                f"{found}. Name it or remove it."
            )
        if columns.count(column) > 1:
            raise BadInput(f"{name} has the column {column} twice. Rename or remove one.")


def _check_types(types: dict[str, pa.DataType], *, name: str) -> None:
    for column, kind in types.items():
        if column in _ID_COLUMNS and not parquet_table.is_id(kind):
            raise BadInput(
                f"Column {column} of {name} is of type {kind}. Ids must be text or integers: "
                "convert the column."
            )
        if not parquet_table.is_scalar(kind):
            raise BadInput(
                f"Column {column} of {name} is of type {kind}, which has no text form. Convert "
                "the column to text or remove it."
            )


def _require_rows(root: Path, files: list[DataFile], table: str) -> None:
    if not files:
        found = ", ".join(sorted(path.name for path in root.iterdir())) or "nothing"
        raise BadInput(
            f"{root} has no {table} file; it holds: {found}. Add one of "
            f"{', '.join(table + end for end in _SUFFIXES)}."
        )
    if all(next(file.rows(), None) is None for file in files):
        names = ", ".join(file.name for file in files)
        what = "the catalogue is empty" if table == ITEMS else "there is nothing to learn from"
        raise BadInput(f"{names} in {root} has a header but no rows: {what}. Add rows.")


def _require_ratings_in_all_or_none(files: list[DataFile]) -> None:
    without = [file.name for file in files if "rating" not in file.columns]
    if without and len(without) < len(files):
        raise BadInput(
            f"{without[0]} has no column rating, but other spans have one. Add the column to every "
            "span, or to none for implicit feedback."
        )


def _is_parquet(path: str | Path) -> bool:
    return str(path).endswith(".parquet")


def _read(path: str, part: int | None = None) -> Iterator[Row]:
    if _is_parquet(path):
        return parquet_table.read_parquet(path, part)
    return csv_table.read_csv(path)


def _read_to_end(path: Path) -> None:
    if path.suffix == ".csv":
        return  # nothing in a plain file tells that it is cut off
    if _is_parquet(path):
        parquet_table.read_to_end(str(path))
    else:
        csv_table.read_to_end(str(path))
