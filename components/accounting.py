"""Row accounting: what a Beam stage has to have seen, and the error where it saw something else.

Runners have lost rows without an error. Ingestion accounts for the rows it reads and notes those
it wrote on its Examples; every later stage is held to that number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tfx import types

from models.errors import DebutError

ROWS: Final = "rows"  # custom property of Examples: split to rows, as JSON


def note_rows(examples: types.Artifact, rows: Mapping[str, int]) -> None:
    """Note on Examples how many rows each split has."""
    examples.set_string_custom_property(ROWS, json.dumps(dict(rows)))


def noted_rows(examples: types.Artifact) -> dict[str, int] | None:
    """Rows by split, None where an earlier Debut wrote the Examples and noted nothing."""
    if not examples.has_custom_property(ROWS):
        return None
    rows: dict[str, int] = json.loads(examples.get_string_custom_property(ROWS))
    return rows


def check_rows(stage: str, rows: str, *, expected: int, found: int) -> None:
    """Check that a stage saw every row once.

    Args:
        stage: its name.
        rows: what they are.
        expected: how many went in.
        found: how many came out.

    Raises:
        DebutError: the numbers differ.
    """
    if found != expected:
        raise DebutError(
            f"{stage}: {expected} {rows} went in and {found} came out. The Beam runner lost or "
            "repeated rows, so nothing of it is used. Run again, or with "
            "--set run.beam_runner=direct."
        )
