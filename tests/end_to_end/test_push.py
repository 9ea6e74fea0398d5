"""A version appears whole or not at all, and never over one that its maker did not know."""

import functools
import json
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components import version_folder
from components.locks import held
from components.push_terms import PushTerms
from components.pusher import Executor
from components.version_folder import promote, push, push_in_place_of
from models.errors import Refused
from serving.version_labels import CANARY, STABLE, config_file, read_labels


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"weights")
    return folder


@pytest.fixture
def base(tmp_path):
    return tmp_path / "serving" / "debut"


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_version_is_the_time_and_holds_the_whole_model(model, base):
    before = int(time.time())
    version = push(model, base)
    assert before <= int(version.name) <= time.time()
    assert version.parent == base and files(version) == files(model)
    assert [path.name for path in base.iterdir()] == [version.name]


def test_a_version_is_on_the_disk_before_it_has_a_name_and_that_before_labels_say_so(
    model, base, monkeypatch
):
    flushed, sync = [], os.fsync

    def noted(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        named = [version.name for version in base.iterdir() if version.name.isdigit()]
        flushed.append((path.name, named, config_file(base).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    version = push(model, base).name
    content = ["saved_model.pb", "variables", "variables.index"]
    *beside, folder, named, labels = flushed
    assert sorted(name for name, _, _ in beside) == content
    assert folder[0].startswith(".incoming-")
    assert all(versions == [] for _, versions, _ in (*beside, folder))
    assert named == (base.name, [version], False)
    assert labels == (labels[0], [version], False) and labels[0].endswith("models.config.part")


def test_pushes_of_the_same_second_get_versions_of_their_own(model, base, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.9)
    versions = [push(model, base).name for _ in range(3)]
    assert versions == ["1700000000", "1700000001", "1700000002"]
    assert all(files(base / version) == files(model) for version in versions)


def test_clock_that_was_set_back_makes_no_older_version(model, base, monkeypatch):
    (base / "2000000000").mkdir(parents=True)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    assert push(model, base).name == "2000000001"


def test_an_old_version_goes_when_no_label_names_it_any_more(model, base, monkeypatch):
    old, labels = push(model, base), []

    def remove(folder):
        labels.append((folder, read_labels(base)))

    monkeypatch.setattr(version_folder, "remove_at_once", remove)
    new = push(model, base, keep=1)
    assert labels == [(old, {STABLE: int(new.name)})]


def test_crash_while_copying_leaves_nothing(model, base):
    old = push(model, base)
    # Like a full disk, a file that can't be copied fails the copy when others are there already.
    (model / "variables" / "variables.data").symlink_to(model / "gone")
    with pytest.raises(shutil.Error, match=r"variables\.data.*No such file"):
        push(model, base)
    assert list(base.iterdir()) == [old]


def test_kill_while_copying_leaves_no_version(model, base, monkeypatch):
    old = push(model, base)

    def copy_and_wait(source, target):
        shutil.copy2(source, target)
        time.sleep(600)

    slow = functools.partial(shutil.copytree, copy_function=copy_and_wait)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", slow)
        process = multiprocessing.get_context("fork").Process(target=push, args=(model, base))
        process.start()
    while len(list(base.iterdir())) == 1:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert [path.name for path in base.iterdir() if path.name.isdigit()] == [old.name]
    new = push(model, base)
    assert int(new.name) > int(old.name) and files(new) == files(model)


def test_watcher_never_sees_half_a_version(model, base):
    for number in range(200):
        (model / f"part-{number}").write_bytes(b"x" * 1000)
    whole, stop, incomplete = files(model), threading.Event(), []
    base.mkdir(parents=True)

    def watch():
        while not stop.is_set():
            for path in base.iterdir():
                if path.name.isdigit() and files(path) != whole:
                    incomplete.append(path.name)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        versions = {push(model, base).name for _ in range(5)}
    finally:
        stop.set()
        watcher.join()
    assert len(versions) == 5 and incomplete == []


def test_what_was_made_of_a_version_is_not_pushed_after_a_rollback_that_it_waited_for(
    model, base, monkeypatch
):
    good, bad = push(model, base), push(model, base)
    copying, waiting, copytree = threading.Event(), threading.Event(), shutil.copytree
    monkeypatch.setattr(version_folder, "held", functools.partial(held, busy=waiting.set))

    def copy_when_another_waits(*arguments):
        copying.set()
        assert waiting.wait(60)
        return copytree(*arguments)

    monkeypatch.setattr(shutil, "copytree", copy_when_another_waits)
    going_back = threading.Thread(target=push, args=(good, base))
    going_back.start()
    assert copying.wait(60)
    with pytest.raises(Refused, match=f"pushed to .* after {bad.name}"):
        push_in_place_of(bad, model)
    going_back.join()
    versions = sorted(path.name for path in base.iterdir())
    assert versions[:2] == [good.name, bad.name] and len(versions) == 3
    assert read_labels(base) == {STABLE: int(versions[-1])}


def test_what_was_made_of_a_canary_takes_the_label_that_it_has_by_then(model, base):
    stable, canary = push(model, base), push(model, base, canary=True)
    on_trial = push_in_place_of(canary, model)
    assert read_labels(base) == {STABLE: int(stable.name), CANARY: int(on_trial.name)}
    promote(base)
    taken = push_in_place_of(on_trial, model)
    assert read_labels(base) == {STABLE: int(taken.name)}


def test_a_push_in_place_of_the_canary_that_was_killed_before_its_label_promotes_nothing(
    model, base, monkeypatch
):
    stable, canary = push(model, base), push(model, base, canary=True)
    with monkeypatch.context() as killed:
        killed.setattr(version_folder, "write_labels", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            push_in_place_of(canary, model)
    newest = max(base.iterdir())
    assert newest.name > canary.name
    again = push_in_place_of(newest, model)
    assert read_labels(base) == {STABLE: int(stable.name), CANARY: int(again.name)}


def run_pusher(model, base, terms, folder, **judged):
    """A run of the pipeline's Pusher; returns what it pushed, None where it pushed nothing."""
    pushed = noted_by_pusher(model, base, terms, folder, **judged)
    version = pushed.get_string_custom_property("pushed_version")
    assert pushed.get_int_custom_property("pushed") == bool(version)
    return base / version if version else None


def noted_by_pusher(model, base, terms, folder, *, infra=1, evaluator=None, model_id=7):
    """The artifact that such a run leaves."""
    served = folder / "updated" / "Format-Serving"
    shutil.copytree(model, served, dirs_exist_ok=True)
    made, judged = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    made.uri, judged.uri = str(served.parent), str(folder)
    judged.set_int_custom_property("blessed", infra)
    inputs = {"model": [made], "infra_blessing": [judged]}
    if evaluator is not None:
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", evaluator)
        blessing.set_int_custom_property("current_model_id", model_id)
        inputs["model_blessing"] = [blessing]
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = str(base)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    Executor(BaseExecutor.Context(tmp_dir=str(folder), unique_id="1")).Do(
        inputs,
        {"pushed_model": [pushed]},
        {
            "custom_config": json.dumps(terms.to_config()),
            "push_destination": proto_utils.proto_to_json(destination),
        },
    )
    return pushed


def test_a_pipeline_s_pusher_refuses_too_what_was_made_of_an_older_version(model, base, tmp_path):
    first = push(model, base)
    second = run_pusher(model, base, PushTerms(base=first.name), tmp_path)
    with pytest.raises(Refused):
        run_pusher(model, base, PushTerms(base=first.name), tmp_path)
    assert {path.name for path in base.iterdir()} == {first.name, second.name}


@pytest.mark.parametrize("override", ["", "we need it today"])
@pytest.mark.parametrize("evaluator", [None, 0, 1])
def test_what_infra_validation_refused_is_never_pushed(model, base, tmp_path, override, evaluator):
    first, terms = push(model, base), PushTerms(override=override)
    assert run_pusher(model, base, terms, tmp_path, infra=0, evaluator=evaluator) is None
    assert list(base.iterdir()) == [first] and read_labels(base) == {STABLE: int(first.name)}


def test_what_evaluator_refused_is_pushed_for_a_reason_alone(model, base, tmp_path):
    assert run_pusher(model, base, PushTerms(), tmp_path, evaluator=0) is None
    assert not base.exists()
    version = run_pusher(model, base, PushTerms(override="sale"), tmp_path, evaluator=0)
    assert read_labels(base) == {STABLE: int(version.name)} and files(version) == files(model)


def test_a_model_that_a_rollback_took_out_is_pushed_for_a_reason_alone(model, base, tmp_path):
    withdrawn, run = {"7": "it sold nothing"}, functools.partial(noted_by_pusher, model, base)
    for evaluator in (0, 1):
        refused = run(PushTerms(withdrawn=withdrawn), tmp_path, evaluator=evaluator)
        assert refused.get_string_custom_property("withdrawn") == "it sold nothing"
        assert not refused.get_int_custom_property("pushed") and not base.exists()
    terms = PushTerms(withdrawn=withdrawn, override="sale")
    pushed = run(terms, tmp_path, evaluator=1)
    assert pushed.get_string_custom_property("override") == "sale"
    assert not pushed.get_string_custom_property("withdrawn")
    other = run(PushTerms(withdrawn=withdrawn), tmp_path, evaluator=1, model_id=8)
    assert other.get_int_custom_property("pushed")


def test_what_was_pushed_is_noted_with_its_label_and_what_it_was_made_of(model, base, tmp_path):
    # A reason is none where nothing was refused.
    first = noted_by_pusher(model, base, PushTerms(override="sale"), tmp_path, evaluator=1)
    version = first.get_string_custom_property("pushed_version")
    assert [first.get_string_custom_property(name) for name in ("label", "base", "override")] == [
        STABLE, "", "",
    ]  # fmt: skip
    assert files(Path(first.uri)) == files(model)
    assert first.get_string_custom_property("pushed_destination") == str(base / version)
    noted_by_pusher(model, base, PushTerms(canary=True), tmp_path)
    canary = max(base.iterdir()).name
    changed = noted_by_pusher(model, base, PushTerms(base=canary), tmp_path)
    assert [changed.get_string_custom_property(name) for name in ("label", "base")] == [
        CANARY, canary,
    ]  # fmt: skip


def test_a_pipeline_s_pusher_keeps_as_many_versions_as_the_terms_say(model, base, tmp_path):
    first = run_pusher(model, base, PushTerms(keep=2), tmp_path)
    second = run_pusher(model, base, PushTerms(keep=2), tmp_path)
    third = run_pusher(model, base, PushTerms(keep=2, base=second.name), tmp_path)
    assert first.name < second.name and set(base.iterdir()) == {second, third}
    fourth = run_pusher(model, base, PushTerms(keep=2), tmp_path)
    assert set(base.iterdir()) == {third, fourth}


def test_a_canary_by_the_terms_leaves_the_stable_version(model, base, tmp_path):
    terms = PushTerms(canary=True)
    first = push(model, base)
    second = run_pusher(model, base, terms, tmp_path)
    assert read_labels(base) == {STABLE: int(first.name), CANARY: int(second.name)}
