"""What infra validation refuses of a changed version is not pushed, by a server's own answers."""

import shutil
import time

import pytest
from click.testing import CliRunner

from components.lineage import ITEMS_ADD
from models.errors import Refused
from pipeline.changes import exploring
from pipeline.changes.candidate import new_candidate
from pipeline.changes.changing import push_changed
from pipeline.cli import main
from pipeline.layout import serving_folder
from serving.version_labels import STABLE, read_labels, versions_on_disk
from tests.pipeline.recorded import RecordedRoot
from tests.refused_change import refused_change
from tests.serving.saved_models import Shop, save_scale


@pytest.fixture
def root(tmp_path):
    """A run pushed version 1, which can't be asked for lists."""
    RecordedRoot(tmp_path).run()
    save_scale(str(serving_folder(tmp_path)), 1, 10)
    return tmp_path


def assert_nothing_was_pushed(root):
    assert versions_on_disk(serving_folder(root)) == [1]
    assert read_labels(serving_folder(root)) == {STABLE: 1}


def test_a_version_that_a_server_does_not_load_is_not_pushed(root):
    def break_it(base, made):
        # The server is to start well, on the version of before.
        candidate.server.address(deadline=time.time() + 120)
        shutil.copytree(base, made)
        (made / "saved_model.pb").write_bytes(b"\xff" * 50)
        return None, lambda _: None

    said = r"a model server did not load it: .+ Nothing was pushed"
    with new_candidate(root, waiting=lambda: None) as candidate, pytest.raises(Refused, match=said):
        push_changed(candidate, break_it, kind=ITEMS_ADD, told=lambda _: {})
    assert_nothing_was_pushed(root)


def test_exploration_that_answers_wrongly_in_a_server_ends_with_3_and_is_not_pushed(
    root, monkeypatch
):
    monkeypatch.setattr(exploring, "update", refused_change)
    result = CliRunner().invoke(main, ["explore", "--root", str(root)])
    assert result.exit_code == 3, result.output
    assert result.stderr == f"Error: It lists {[list(Shop.ITEMS[:2])]}.\n"
    assert_nothing_was_pushed(root)
