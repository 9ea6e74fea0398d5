"""The list of rows that could not be used is there as a whole or not at all."""

import json
from pathlib import Path

import pytest

from components.ingestion.set_aside import SetAside
from pipeline import adding
from pipeline.layout import set_aside_folder

ROWS = [SetAside("new.csv", 2, 3, "not a number", "price", "cheap")] * 2


def test_the_rows_are_listed_by_version(tmp_path):
    file = adding._write(ROWS, tmp_path, Path("12"))
    assert file == set_aside_folder(tmp_path) / "12.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [row._asdict() for row in ROWS]
    assert adding._write([], tmp_path, Path("13")) is None


def test_a_full_disk_leaves_no_part_of_the_list(tmp_path, monkeypatch):
    def full_disk(self, text, **_):
        self.write_bytes(text.encode()[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        adding._write(ROWS, tmp_path, Path("12"))
    assert not list(set_aside_folder(tmp_path).iterdir())
