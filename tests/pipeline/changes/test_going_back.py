"""Promoting and going back are done by the command once more where it was killed half-way."""

import re

import pytest
from click.testing import CliRunner

from components import version_folder
from components.lineage import push_of, read_pushes, withdrawn_models
from components.metadata_store import read_store
from pipeline.changes import derived, going_back
from pipeline.cli import main
from pipeline.layout import metadata_file, serving_folder
from pipeline.model_card import card_file
from pipeline.versions import read_versions
from serving.version_labels import CANARY, STABLE, read_labels, versions_on_disk, write_labels
from tests.pipeline.recorded import RecordedRoot


class Killed(BaseException):
    """What no handler of errors catches."""


def die(*_, **__):
    raise Killed


@pytest.fixture
def root(tmp_path):
    """Versions 1 and 2, of which 2 is stable."""
    recorded = RecordedRoot(tmp_path)
    recorded.run()
    recorded.run()
    for version in ("1", "2"):
        (serving_folder(tmp_path) / version / "saved_model.pb").write_bytes(b"")
    return tmp_path


def pushes(root):
    return read_pushes(read_store(metadata_file(root)))


def push(root, version):
    found = push_of(pushes(root), version)
    assert found is not None
    return found


def test_nothing_is_claimed_of_the_gates_of_a_version_of_which_nothing_is_recorded(root):
    unrecorded = serving_folder(root) / "3"
    unrecorded.mkdir()
    (unrecorded / "saved_model.pb").write_bytes(b"")
    done = going_back.roll_back(root, "3", reason="it sold best")
    gates = {version.version: version.gates for version in read_versions(root)}
    assert gates == {int(done.version.name): "", 3: "", 2: "passed", 1: "passed"}


@pytest.mark.parametrize("command", [("rollback", "1"), ("promote",)])
def test_a_reason_in_another_encoding_is_refused_and_nothing_is_changed(root, command):
    write_labels(serving_folder(root), {STABLE: 1, CANARY: 2})
    done = debut(*command, "--root", root, "--reason", "pass\udce9")
    assert (done.exit_code, "is no Unicode text" in done.output) == (2, True)
    assert read_labels(serving_folder(root)) == {STABLE: 1, CANARY: 2}
    assert versions_on_disk(serving_folder(root)) == [2, 1]


def test_a_rollback_that_another_push_comes_before_is_refused_and_drops_nothing(root, monkeypatch):
    serving = serving_folder(root)

    def labels_before_the_other(base):
        labels = read_labels(base)
        (serving / "3").mkdir()
        write_labels(serving, {STABLE: 3})
        return labels

    monkeypatch.setattr(going_back, "read_labels", labels_before_the_other)
    refused = debut("rollback", "1", "--root", root, "--reason", "it sold nothing")
    assert refused.exit_code == 3, refused.output
    assert "Another version was pushed" in refused.output
    assert read_labels(serving) == {STABLE: 3}
    assert versions_on_disk(serving) == [3, 2, 1]


def debut(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("step", ["record_promotion", "write_labels"])
def test_a_promotion_that_was_killed_is_finished_by_the_command_once_more(root, monkeypatch, step):
    serving = serving_folder(root)
    write_labels(serving, {STABLE: 1, CANARY: 2})
    promote = ("promote", "--root", root)
    with monkeypatch.context() as patch:
        patch.setattr(going_back if step == "record_promotion" else version_folder, step, die)
        with pytest.raises(Killed):
            going_back.promote_canary(root, reason="")
    assert read_labels(serving) == {STABLE: 1, CANARY: 2}
    done = debut(*promote)
    assert done.exit_code == 0, done.output
    assert read_labels(serving) == {STABLE: 2}
    assert push(root, 2).label == STABLE


def test_without_a_canary_nothing_is_promoted(root):
    before = pushes(root)
    refused = debut("promote", "--root", root)
    assert refused.exit_code == 2 and "`--set push.canary=true`" in refused.stderr
    assert read_labels(serving_folder(root)) == {STABLE: 2} and pushes(root) == before


@pytest.mark.parametrize("step", ["record_push", "write_labels"])
def test_a_rollback_that_was_killed_is_finished_by_the_command_once_more(root, monkeypatch, step):
    serving, left = serving_folder(root), pushes(root)[-1]
    with monkeypatch.context() as patch:
        patch.setattr(derived if step == "record_push" else version_folder, step, die)
        with pytest.raises(Killed):
            going_back.roll_back(root, "1", reason="it sold nothing")
    assert read_labels(serving) == {STABLE: 2}
    done = debut("rollback", "1", "--root", root, "--reason", "it sold nothing")
    assert done.exit_code == 0, done.output
    newest = versions_on_disk(serving)[0]
    assert read_labels(serving) == {STABLE: newest}
    assert push(root, newest).base == 1
    # The next run does not push it again.
    assert withdrawn_models(pushes(root)) == {left.model: "it sold nothing"}


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("", r"\Z"),  # cut off, and so as if there were none
        (
            '{"schema_version": "0.0.1"}',
            r"Version (\d+) is pushed, but its model card could not be written: KeyError: .+\n\Z",
        ),
    ],
)
def test_a_version_is_pushed_whatever_the_card_of_the_one_before_it_holds(root, card, said):
    file = card_file(root, 1)
    file.parent.mkdir(parents=True)
    file.write_text(card)
    done = debut("rollback", "1", "--root", root, "--reason", "it sold nothing")
    assert done.exit_code == 0, done.output
    newest = versions_on_disk(serving_folder(root))[0]
    found = re.match(said, done.stderr)
    assert found and [*found.groups()] in ([], [str(newest)]), done.stderr
    assert push(root, newest).base == 1
