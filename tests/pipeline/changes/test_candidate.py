"""What a change makes lies where a killed one's remains are found."""

import pytest

from pipeline.changes.candidate import scratch_folder


def test_the_scratch_folder_is_empty_and_goes_with_the_change(tmp_path):
    folder = tmp_path / ".change"
    with scratch_folder(folder) as scratch:
        (scratch / "made").write_text("half")
    assert not folder.exists()

    with pytest.raises(RuntimeError, match="refused"), scratch_folder(folder) as scratch:
        (scratch / "made").write_text("half")
        raise RuntimeError("refused")
    assert not folder.exists()


def test_what_a_killed_change_left_is_removed_without_what_it_links_to(tmp_path):
    base, folder = tmp_path / "serving" / "1", tmp_path / ".change"
    base.mkdir(parents=True)
    (base / "saved_model.pb").write_text("served")
    (folder / "debut").mkdir(parents=True)
    (folder / "debut" / "1").symlink_to(base)
    (folder / "made").mkdir()
    with scratch_folder(folder) as scratch:
        assert list(scratch.iterdir()) == []
    assert (base / "saved_model.pb").read_text() == "served"
