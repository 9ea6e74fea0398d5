"""The index of the newest version appears as a whole, in a folder that was not there."""

import types

import pytest
import tensorflow as tf

from models.errors import BadInput
from pipeline import indexing
from pipeline.indexing import export_newest
from pipeline.layout import serving_folder


@pytest.fixture
def root(tmp_path):
    """Two versions; what the newer one's shelf holds is up to the test."""
    for version in ("1", "2"):
        (serving_folder(tmp_path / "runs") / version).mkdir(parents=True)
    return tmp_path / "runs"


@pytest.fixture
def shelf(root, monkeypatch):
    """Has the newer version be loaded with a number of anchors among two items."""

    def load(anchors):
        found = types.SimpleNamespace(
            served=types.SimpleNamespace(anchor_teacher=tf.zeros(anchors)),
            item_id=tf.constant(["a", "b"]),
        )
        models = {str(serving_folder(root) / "2"): types.SimpleNamespace(_shelf=found)}
        monkeypatch.setattr(tf.saved_model, "load", models.__getitem__)

    return load


def test_the_newest_version_is_exported_and_folders_above_are_made(root, shelf, monkeypatch):
    shelf(1)

    def write(_, folder):
        (folder / "items.txt").write_text("b")
        return 1

    monkeypatch.setattr(indexing, "export_vectors", write)
    output = root / "indexes" / "today"
    assert export_newest(root, output) == ("2", 1)
    assert [path.name for path in output.parent.iterdir()] == ["today"]
    assert (output / "items.txt").read_text() == "b"
    with pytest.raises(BadInput, match="is there already"):
        export_newest(root, output)


def test_an_export_that_fails_leaves_nothing(root, shelf, monkeypatch):
    shelf(1)

    def fail(_, folder):
        (folder / "items.txt").write_text("b")
        raise OSError("No space left on device")

    monkeypatch.setattr(indexing, "export_vectors", fail)
    with pytest.raises(OSError, match="No space"):
        export_newest(root, root / "index")
    assert [path.name for path in root.iterdir()] == ["serving"]


def test_a_shelf_of_anchors_alone_needs_no_index(root, shelf):
    shelf(2)
    with pytest.raises(BadInput, match="nothing to export"):
        export_newest(root, root / "index")


def test_below_a_file_no_folder_is_made(root, shelf):
    shelf(1)
    (root / "file").write_text("")
    with pytest.raises(BadInput, match=r"index can't be made .Not a directory.*Give --output"):
        export_newest(root, root / "file" / "index")
