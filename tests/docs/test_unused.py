"""The Python example of "Keep a root" names the artifacts of runs that no version comes from."""

import shutil
from typing import Any

import pytest

from pipeline.layout import artifacts_folder, serving_folder
from tests.docs.pages import blocks
from tests.pipeline.recorded import RecordedRoot


@pytest.fixture
def root(tmp_path):
    """Of two runs; the version of the first one has been removed."""
    recorded = RecordedRoot(tmp_path / "root")
    recorded.run()
    recorded.run()
    shutil.rmtree(serving_folder(tmp_path / "root") / "1")
    return tmp_path / "root"


def unused(root):
    [code] = [code for page, code in blocks("python") if page == "docs/how-to/keep-a-root.md"]
    example: dict[str, Any] = {"__name__": "example"}
    exec(code, example)
    return example["unused"](root)


def of_the_first_run(root):
    found = sorted(artifacts_folder(root).glob("*/*/1"))
    assert len(found) == 3
    return found


def test_what_a_version_on_disk_was_made_of_is_not_named(root):
    assert unused(root) == of_the_first_run(root)


def test_it_knows_a_root_that_a_link_at_its_old_path_leads_to(root, tmp_path):
    moved = root.rename(tmp_path / "moved")
    root.symlink_to(moved)
    assert unused(moved) == unused(root) == of_the_first_run(moved)


def test_it_names_nothing_in_a_root_that_was_moved_without_a_link(root, tmp_path):
    moved = root.rename(tmp_path / "moved")
    with pytest.raises(SystemExit, match="another path"):
        unused(moved)
