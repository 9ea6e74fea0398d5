"""TFX's own `TensorFlowServingClient`, as its infra validation uses it, against the server."""

import json
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, prediction_log_pb2, regression_pb2
from tfx.components.infra_validator import error_types
from tfx.components.infra_validator.model_server_clients.tensorflow_serving_client import (
    TensorFlowServingClient,
)

from serving.ports import free_port
from tests.serving import saved_models
from tests.serving.saved_models import (
    examples_request,
    float_request,
    predict_record,
    write_config,
    write_warm_up,
)

SECONDS = 300  # for a slow machine; a start takes some ten


@pytest.fixture(scope="module")
def process(models, tmp_path_factory):
    """(gRPC address, access log) of a server that is only just starting."""
    folder = tmp_path_factory.mktemp("tfx")
    config = write_config(
        folder / "models.config", {name: models / name for name in ("scale", "examples")}
    )
    port, log = free_port(), folder / "access.log"
    command = [
        *(sys.executable, "-m", "serving.main", f"--port={port}", "--bind_address=127.0.0.1"),
        *(f"--model_config_file={config}", f"--access_log_file={log}"),
    ]
    with subprocess.Popen(command) as server:
        yield f"127.0.0.1:{port}", log
        server.terminate()


def loaded(address, model):
    client = TensorFlowServingClient(address, model)
    client.WaitUntilModelLoaded(deadline=time.time() + SECONDS, polling_interval_sec=1)
    return client


def from_warm_up_file(folder, *requests):
    """Requests on the way that TFX hands them on: as records of a warm-up file."""
    write_warm_up(str(folder), map(predict_record, requests))
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    return [log.predict_log.request for log in logs]


def test_it_waits_until_the_model_is_loaded_and_gets_every_request_answered(process, tmp_path):
    address, log = process
    client = loaded(address, "scale")
    predicts = from_warm_up_file(tmp_path, *(float_request([float(n)]) for n in range(3)))
    client.SendRequests(
        [
            *predicts,
            examples_request(classification_pb2.ClassificationRequest, "classify", 1.5),
            examples_request(regression_pb2.RegressionRequest, "regress", 1.5),
        ]
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    answered = [
        (line["method"].rpartition("/")[2], line["model"])
        for line in lines
        if line["code"] == "OK" and line["method"].rpartition("/")[2] != "GetModelStatus"
    ]
    assert answered == [
        *[("Predict", "scale")] * 3,
        ("Classify", "examples"),
        ("Regress", "examples"),
    ]


def test_request_that_is_refused_fails_the_validation(process):
    client = loaded(process[0], "scale")
    with pytest.raises(error_types.ValidationFailed, match="failed to respond"):
        client.SendRequests([float_request([1.0]), float_request([1.0], signature="nope")])


def test_model_that_never_comes_runs_into_the_deadline(process):
    loaded(process[0], "scale")
    client = TensorFlowServingClient(process[0], "absent")
    with pytest.raises(error_types.DeadlineExceeded):
        client.WaitUntilModelLoaded(deadline=time.time() + 1, polling_interval_sec=1)


def test_version_that_does_not_load_is_a_failure_and_not_a_wait(start_server, tmp_path):
    saved_models.save_scale(str(tmp_path), 1, 10)
    server = start_server(
        "--model_name=scale", f"--model_base_path={tmp_path}", "--max_num_load_retries=0"
    )
    address = f"127.0.0.1:{server.grpc_port}"
    loaded(address, "scale")
    (tmp_path / "2.part").mkdir()
    (tmp_path / "2.part" / "saved_model.pb").write_bytes(b"\xff" * 50)
    (tmp_path / "2.part").rename(tmp_path / "2")
    server.wait_for("scale", 2, "END")
    with pytest.raises(error_types.ValidationFailed, match="failed to load"):
        loaded(address, "scale")
