"""What each tracker stores of a training: read back from its files, with no service at hand."""

import contextlib
import json
import os
import shutil
import socket
import time
from unittest import mock

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.projector import projector_plugin

from models.errors import BadInput
from models.options import TrackingOptions
from models.record import TrainingRecord, TrainingRecorder, read_record
from models.tracking import ItemSpace, Trackers, open_trackers, require_installed
from models.tracking.tensor_board import TensorBoardTracker
from models.tracking.tracker import flat

OPTIONS = {"training.steps": 60, "training.learning_rate": 0.01, "encoder.shared": True}
CURVE = {0: {"loss": 2.0}, 10: {"loss": 1.0, "squared_error": 0.25}}
RESULTS = {"recall": 0.5}
SPACE = ItemSpace(
    embedding=np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32),
    item_id=["00001", "00002"],
    name=["Red\tteapot\nof tin", "陶瓷茶壶"],
    state=["seen", "new"],
)


RECORD = TrainingRecord(
    start="fresh", replayed=0, before={}, after={"recall": 0.5}, kept_step=0, curve=[],
    fine_tuned=None, kernel={}, items=2, users=1, interactions=1, implicit=True, parameters=1,
    tuned={},
)  # fmt: skip


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def follow(folder, between=lambda step: None, **services):
    """A whole training with the services that are named; `between` is called before each step."""
    options = TrackingOptions(**{"wandb": None, "mlflow": None, "projected_items": 10} | services)
    with open_trackers(options, folder) as trackers:
        trackers.options(OPTIONS)
        for step, values in CURVE.items():
            between(step)
            trackers.scalars(step, values)
        trackers.results(RESULTS)
        trackers.items(SPACE)
    return folder


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return follow(tmp_path_factory.mktemp("run")) / "tensorboard"


@pytest.fixture(scope="module")
def events(board):
    return EventAccumulator(str(board), size_guidance={"tensors": 0}).Reload()


def test_tensorboard_has_the_scalars_and_the_results(events):
    def curve(name):
        return {e.step: float(np.frombuffer(e.tensor_proto.tensor_content, np.float32)[0])
                if e.tensor_proto.tensor_content else e.tensor_proto.float_val[0]
                for e in events.Tensors(name)}  # fmt: skip

    assert curve("loss") == {0: 2.0, 10: 1.0}
    assert curve("squared_error") == {10: 0.25}
    assert curve("result/recall") == {0: 0.5}


def test_tensorboard_has_the_hyper_parameters(events):
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    stored = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert stored["training.steps"].number_value == 60
    assert stored["encoder.shared"].bool_value is True
    assert set(stored) == set(OPTIONS)


def test_the_projector_reads_the_item_space(board):
    vectors = projector_plugin._read_tensor_tsv_file(str(board / "items.tsv"))
    assert vectors == pytest.approx(SPACE.embedding)
    rows = [line.split("\t") for line in (board / "item_names.tsv").read_text().splitlines()]
    assert rows == [
        ["id", "name", "state"],
        ["00001", "Red teapot of tin", "seen"],
        ["00002", "陶瓷茶壶", "new"],
    ]
    config = (board / "projector_config.pbtxt").read_text()
    assert "items.tsv" in config and "item_names.tsv" in config


def die(step):
    if step:
        raise RuntimeError("training died")


def wandb_in(folder):
    return {"WANDB_MODE": "offline", "WANDB_CONFIG_DIR": str(folder / "config"),
            "WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DATA_DIR": str(folder),
            "WANDB_ERROR_REPORTING": "false"}  # fmt: skip


def mlflow_in(folder):
    return {"MLFLOW_TRACKING_URI": f"file:{folder / 'mlruns'}", "MLFLOW_ALLOW_FILE_STORE": "true"}


def test_weights_and_biases_keeps_a_run_offline(tmp_path):
    with mock.patch.dict(os.environ, wandb_in(tmp_path)):
        follow(tmp_path, wandb="shop")
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    wanted = {b"training.learning_rate", b"squared_error", b"recall", b"shop"}
    # Its own process writes the file, and may still be at it.
    for _ in range(300):
        missing = {text for text in wanted if text not in file.read_bytes()}
        if not missing:
            break
        time.sleep(0.1)
    assert not missing
    [table] = (tmp_path / "wandb").glob("offline-run-*/files/media/table/items*.table.json")
    assert [row[:3] for row in json.loads(table.read_text())["data"]] == [
        list(row) for row in zip(SPACE.item_id, SPACE.name, SPACE.state, strict=True)
    ]


def test_mlflow_keeps_a_run_in_a_folder(tmp_path):
    from mlflow import MlflowClient

    with mock.patch.dict(os.environ, mlflow_in(tmp_path)):
        follow(tmp_path, mlflow="shop")
        follow(tmp_path, mlflow="shop")
        client = MlflowClient()
        experiment = client.get_experiment_by_name("shop")
        assert experiment is not None
        run, _ = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: str(value) for name, value in OPTIONS.items()}
        curve = client.get_metric_history(run.info.run_id, "loss")
        assert {point.step: point.value for point in curve} == {0: 2.0, 10: 1.0}
        assert run.data.metrics["result/recall"] == 0.5
        [folder] = client.list_artifacts(run.info.run_id)
        files = {file.path for file in client.list_artifacts(run.info.run_id, folder.path)}
        assert {"projector/items.tsv", "projector/item_names.tsv"} <= files


def test_a_training_that_died_is_a_failed_run_of_mlflow(tmp_path):
    from mlflow import MlflowClient

    with mock.patch.dict(os.environ, mlflow_in(tmp_path)):
        with pytest.raises(RuntimeError, match="training died"):
            follow(tmp_path, between=die, mlflow="shop")
        client = MlflowClient()
        experiment = client.get_experiment_by_name("shop")
        assert experiment is not None
        [run] = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FAILED" and run.data.metrics == {"loss": 2.0}


def test_a_training_that_died_is_a_failed_run_of_weights_and_biases(tmp_path):
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    with mock.patch.dict(os.environ, wandb_in(tmp_path)):
        for between in (die, lambda step: None):
            with contextlib.suppress(RuntimeError):
                follow(tmp_path / between.__name__, between=between, wandb="shop")

    def exit_codes(folder):
        [file] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
        store = DataStore()
        store.open_for_scan(str(file))
        codes = []
        for data in iter(store.scan_data, None):
            record = Record()
            record.ParseFromString(data)
            codes += [record.exit.exit_code] if record.HasField("exit") else []
        return codes

    # Its own process writes the file, and may still be at it.
    for _ in range(300):
        codes = [exit_codes(tmp_path / name) for name in ("die", "<lambda>")]
        if all(codes):
            break
        time.sleep(0.1)
    assert codes == [[1], [0]]


def test_a_training_goes_on_without_a_service_that_is_not_there(tmp_path, caplog):
    nowhere = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{closed_port()}",
               "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # fmt: skip
    with mock.patch.dict(os.environ, nowhere):
        follow(tmp_path, mlflow="shop")
    [said] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "Training goes on without tracking.mlflow, which failed" in said.getMessage()
    assert (tmp_path / "tensorboard" / "items.tsv").is_file()


def test_a_service_that_fails_on_the_way_is_told_nothing_more_and_named_once(tmp_path, caplog):
    def leave(step):
        if step:
            shutil.rmtree(tmp_path / "mlruns")

    with mock.patch.dict(os.environ, mlflow_in(tmp_path)):
        follow(tmp_path, between=leave, mlflow="shop")
    assert [r.levelname for r in caplog.records if "tracking.mlflow" in r.getMessage()] == ["ERROR"]
    assert (tmp_path / "tensorboard" / "items.tsv").is_file()


def test_the_record_names_the_services_that_failed(tmp_path):
    def refuses():
        raise OSError("nobody answers")

    trackers = Trackers(TensorBoardTracker(tmp_path / "board"), {"mlflow": refuses})
    TrainingRecorder(tmp_path, trackers).finish(RECORD)
    trackers.close(failed=False)
    assert read_record(tmp_path).untracked == ["mlflow"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_library_is_said_before_anything_is_trained(name):
    options = TrackingOptions(**{"wandb": None, "mlflow": None, "projected_items": 1, name: "shop"})
    with (
        mock.patch("importlib.util.find_spec", return_value=None),
        pytest.raises(BadInput, match=rf"tracking\.{name} .*extra `tracking`"),
    ):
        require_installed(options)


def test_options_are_named_as_they_are_configured():
    nested = {"training": {"steps": 3, "strategy": "default"}, "rules": None, "list": [1]}
    assert flat(nested) == {"training.steps": 3, "training.strategy": "default"}
