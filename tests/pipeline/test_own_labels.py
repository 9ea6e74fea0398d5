"""A server's own labels: for the path that it sees the versions at, and after every change."""

import threading
import time
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from pipeline.own_labels import own_labels
from serving.version_labels import CANARY, STABLE, config_file, read_labels, write_labels


@pytest.fixture
def base(tmp_path):
    for version in ("1", "2"):
        (tmp_path / "sh😀p runs" / "serving" / "debut" / version).mkdir(parents=True)
    return tmp_path / "sh😀p runs" / "serving" / "debut"


def read(file):
    config = text_format.Parse(file.read_text(encoding="utf-8"), config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    return model


def wait_for(file, labels):
    for _ in range(200):
        if dict(read(file).version_labels) == labels:
            return
        time.sleep(0.05)
    raise AssertionError(f"{read(file)} never had {labels}")


def test_versions_are_found_by_a_path_of_one_s_own_and_nothing_is_written_in_the_root(base):
    with own_labels(base) as file:
        model = read(file)
        assert dict(model.version_labels) == {STABLE: 2}
        assert sorted(path.name for path in Path(model.base_path).iterdir()) == ["1", "2"]
        assert not config_file(base).exists()
    assert not file.parent.exists()


def push_elsewhere(base, labels):
    """As a push does that sees the root at another path."""
    write_labels(base, labels)
    config = config_pb2.ModelServerConfig()
    text_format.Parse(config_file(base).read_text(encoding="utf-8"), config)
    config.model_config_list.config[0].base_path = "/mnt/other/serving/debut"
    config_file(base).write_text(text_format.MessageToString(config), encoding="utf-8")


def test_a_push_that_saw_the_root_at_another_path_is_followed(base):
    push_elsewhere(base, {STABLE: 1})
    with own_labels(base) as file:
        own = read(file).base_path
        assert dict(read(file).version_labels) == {STABLE: 1}
        push_elsewhere(base, {STABLE: 2})
        wait_for(file, {STABLE: 2})
        assert read(file).base_path == own
        assert read(config_file(base)).base_path == "/mnt/other/serving/debut"


def test_the_last_labels_hold_while_the_root_is_away_or_its_file_is_broken(base, monkeypatch):
    reads = threading.Semaphore(0)

    def counted(folder):
        reads.release()
        return read_labels(folder)

    def wait_for_a_read():
        while reads.acquire(blocking=False):
            pass
        for _ in range(2):  # by the second one the first is done
            assert reads.acquire(timeout=60)

    monkeypatch.setattr("pipeline.own_labels.read_labels", counted)
    write_labels(base, {STABLE: 1, CANARY: 2})
    with own_labels(base) as file:
        good = file.read_text()
        config_file(base).write_text("labels, please")
        wait_for_a_read()
        assert file.read_text() == good
        away = base.rename(base.with_name("away"))
        wait_for_a_read()
        assert file.read_text() == good
        away.rename(base)
        write_labels(base, {STABLE: 2})
        wait_for(file, {STABLE: 2})
