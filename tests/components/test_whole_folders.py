"""What a folder that gets its name must have on the disk by then."""

import os
from pathlib import Path

from components.whole_folders import put_at_once, written_beside


def test_a_folder_is_on_the_disk_with_all_that_is_in_it_before_it_gets_its_name(
    tmp_path, monkeypatch
):
    flushed, sync = [], os.fsync
    named = tmp_path / "named"

    def noted(descriptor):
        flushed.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, named.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with written_beside(tmp_path) as hidden:
        (hidden / "below").mkdir(parents=True)
        (hidden / "below" / "file").write_text("content")
        put_at_once(hidden, named)
    assert sorted(flushed[:2]) == [("below", False), ("file", False)]
    assert flushed[2:] == [(hidden.name, False), (tmp_path.name, True)]
    assert (named / "below" / "file").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["named"]
