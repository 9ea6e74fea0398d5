"""What a refused run's quarantine leaves to look into."""

import shutil

import pytest

from components.ingestion.refused import keep_rows
from components.object_stores import MOUNTS
from models.errors import BadInput
from tests.components.ingestion.helpers import ingest, write_csv

ROWS = "rows-*.jsonl.gz"


@pytest.fixture
def quarantine(tmp_path):
    folder = tmp_path / "quarantine" / "7"
    folder.mkdir(parents=True)
    for shard in range(2):
        (folder / f"rows-{shard}.jsonl.gz").write_text(f"shard {shard}")
    (folder / "summary.json").write_text("{}")
    return folder


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_rows_of_the_newest_refusal_are_kept(quarantine):
    kept = keep_rows(quarantine, ROWS)
    assert kept.parent == quarantine.parent
    assert contents(kept) == {"rows-0.jsonl.gz": "shard 0", "rows-1.jsonl.gz": "shard 1"}
    (quarantine / "rows-1.jsonl.gz").unlink()
    (quarantine / "rows-0.jsonl.gz").write_text("again")
    assert contents(keep_rows(quarantine, ROWS)) == {"rows-0.jsonl.gz": "again"}
    assert sorted(path.name for path in quarantine.parent.iterdir()) == ["7", kept.name]


def test_those_of_an_earlier_one_stay_whole_until_all_are_copied(quarantine, monkeypatch):
    before = contents(keep_rows(quarantine, ROWS))
    copied: list[str] = []

    def copy_one(source, target):
        if copied:
            raise OSError("No space left on device")
        copied.append(source)

    monkeypatch.setattr(shutil, "copy2", copy_one)
    with pytest.raises(OSError, match="No space"):
        keep_rows(quarantine, ROWS)
    assert contents(quarantine.parent / "refused") == before


def test_in_a_task_whose_outputs_go_to_an_object_store_no_folder_is_promised(tmp_path, monkeypatch):
    monkeypatch.setenv(MOUNTS, str(tmp_path))
    data = tmp_path / "data"
    data.mkdir()
    write_csv(data / "items.csv", "item_id,title,price", ("a", "Apple", "x"))
    write_csv(data / "interactions.csv", "user_id,item_id,timestamp", ("u", "a", 1))
    root = tmp_path / "s3" / "bucket"
    with pytest.raises(BadInput, match="nothing is uploaded: `debut run` with this data folder"):
        ingest(data, root, max_quarantined_share=0.25)
    assert not (root / "refused").exists()
