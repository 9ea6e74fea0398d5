"""The list of rows that could not be used is there as a whole or not at all."""

import json
from pathlib import Path

import pytest

from components.catalogue.update import Change
from components.ingestion.set_aside import SetAside
from components.lineage import ITEMS_ADD, ITEMS_REFRESH, ITEMS_REMOVE, read_pushes
from components.metadata_store import read_store
from pipeline.changes import adding
from pipeline.changes.derived import push_made_of
from pipeline.layout import metadata_file, serving_folder, set_aside_folder
from pipeline.versions import read_versions
from serving.version_labels import versions_on_disk
from tests.pipeline.recorded import RecordedRoot

ROWS = [SetAside("new.csv", 2, 3, "not a number", "price", "cheap")] * 2


def test_the_rows_are_listed_by_version(tmp_path):
    for version, rows in (("12", ROWS), ("13", [])):
        adding._list(rows, adding._file(tmp_path, Path(version)))
    [file] = set_aside_folder(tmp_path).iterdir()
    assert file.name == "12.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [row._asdict() for row in ROWS]


def test_a_full_disk_leaves_no_part_of_the_list(tmp_path, monkeypatch):
    def full_disk(self, text, **_):
        self.write_bytes(text.encode()[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        adding._list(ROWS, adding._file(tmp_path, Path("12")))
    assert not list(set_aside_folder(tmp_path).iterdir())


def test_nothing_is_pushed_whose_rows_could_not_be_listed(tmp_path):
    RecordedRoot(tmp_path).run()
    set_aside_folder(tmp_path).write_text("in the way")
    base = serving_folder(tmp_path) / "1"
    with pytest.raises(FileExistsError):
        push_made_of(
            base, base, root=tmp_path, kind=ITEMS_ADD, details={},
            noted=lambda version: adding._list(ROWS, adding._file(tmp_path, version)),
        )  # fmt: skip
    assert versions_on_disk(base.parent) == [1]
    assert [push.version for push in read_pushes(read_store(metadata_file(tmp_path)))] == [1]


FILE = Path("given.csv")


@pytest.mark.parametrize(
    ("change", "kind", "by"),
    [
        (Change(items=FILE), ITEMS_ADD, "items add by "),
        (Change(interactions=FILE), ITEMS_ADD, "items add by "),
        (Change(withdrawn=("7",)), ITEMS_REMOVE, "items remove by "),
        (Change(withdrawn_file=FILE), ITEMS_REMOVE, "items remove by "),
        (Change(), ITEMS_REFRESH, "items refresh by "),
    ],
)
def test_a_version_says_by_which_command_it_was_made(tmp_path, change, kind, by):
    RecordedRoot(tmp_path).run()
    base = serving_folder(tmp_path) / "1"
    assert adding._kind(change) == kind
    push_made_of(base, base, root=tmp_path, kind=kind, details={})
    made, _ = read_versions(tmp_path)
    assert made.by.startswith(by)
