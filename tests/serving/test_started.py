"""What a server that was started with certain flags does; refused starts are stories."""

import threading

import grpc
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import flags
from serving.ports import free_port
from serving.server import ModelServer
from tests.serving import saved_models
from tests.serving.conformance import models as conformance
from tests.serving.conftest import endpoint
from tests.serving.ipv6 import NEEDS_IPV6
from tests.serving.saved_models import float_request, write_config


def failure(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=30, **options)
    return caught.value.code().name, caught.value.details()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """Base path of the conformance table's line, version 1: y = x / 2 + 2."""
    folder = tmp_path_factory.mktemp("line")
    conformance.save_line(folder, 1)
    return folder


@pytest.mark.parametrize("tags", [(), ("--saved_model_tags=",)], ids=["no flag", "empty flag"])
def test_model_without_a_name_is_called_default_and_without_tags_serve(start_server, models, tags):
    server = start_server(f"--model_base_path={models / 'scale'}", *tags)
    answer = server.prediction.Predict(float_request([1.0], model="default"), timeout=30)
    assert (answer.model_spec.name, answer.outputs["y"].float_val[0]) == ("default", 30.0)


def test_empty_list_of_models_is_a_server_that_knows_none(start_server, tmp_path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { }")
    server = start_server(f"--model_config_file={config}")
    assert failure(server.prediction.Predict, float_request([1.0])) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(scale)",
    )


def test_rest_port_equal_to_the_grpc_port_leaves_rest_out(models):
    port = free_port()
    arguments = [f"--port={port}", f"--rest_api_port={port}", "--bind_address=127.0.0.1"]
    parsed = flags.parse([*arguments, f"--model_base_path={models / 'scale'}"])
    running = ModelServer(parsed, threading.Event())
    running.start()
    try:
        with endpoint(port) as server:
            answer = server.prediction.Predict(float_request([1.0], model="default"))
        assert answer.outputs["y"].float_val[0] == 30.0
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/v1/models/default", timeout=10)
    finally:
        running.drain()


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        pytest.param("0.0.0.0", ["127.0.0.1", "::1"], marks=NEEDS_IPV6),
        pytest.param("::", ["127.0.0.1", "::1"], marks=NEEDS_IPV6),
        pytest.param("::1", ["::1"], marks=NEEDS_IPV6),
    ],
)
def test_both_ports_answer_at_the_address_that_is_given(start_server, models, given, asked):
    server = start_server(
        "--model_name=scale", f"--model_base_path={models / 'scale'}", f"--bind_address={given}"
    )
    for host in asked:
        name = f"[{host}]" if ":" in host else host
        with grpc.insecure_channel(f"{name}:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert stub.Predict(float_request([1.0]), timeout=30).outputs["y"].float_val[0] == 30.0
        answer = requests.get(f"http://{name}:{server.rest_port}/v1/models/scale", timeout=30)
        assert answer.status_code == 200


def test_unix_socket_answers_beside_the_port(start_server, models, tmp_path):
    path = tmp_path / "s.sock"
    start_server(
        "--model_name=scale",
        f"--model_base_path={models / 'scale'}",
        f"--grpc_socket_path={path}",
    )
    with grpc.insecure_channel(f"unix:{path}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(float_request([1.0]), timeout=30).outputs["y"].float_val[0] == 30.0


def test_no_port_is_open_while_one_model_has_no_version(models, tmp_path):
    later = tmp_path / "later"
    config = write_config(tmp_path / "models.config", {"scale": models / "scale", "later": later})
    port, stopping = free_port(), threading.Event()
    parsed = flags.parse(
        [f"--port={port}", "--bind_address=127.0.0.1", f"--model_config_file={config}"]
    )
    running = ModelServer(parsed, stopping)
    starting = threading.Thread(target=running.start)
    starting.start()
    try:
        starting.join(1)
        assert starting.is_alive()
        with endpoint(port) as server:
            said = failure(server.prediction.Predict, float_request([1.0]))
            assert said[0] == "UNAVAILABLE"
        later.mkdir()
        saved_models.save_scale(str(later), 1, 10)
        starting.join(60)
        with endpoint(port) as server:
            request = float_request([1.0], model="later")
            reply = server.prediction.Predict(request, timeout=30, wait_for_ready=True)
        assert reply.outputs["y"].float_val[0] == 10.0
    finally:
        stopping.set()
        starting.join()
        running.drain()


def test_method_names_of_signatures_are_checked_where_asked_for(start_server, line):
    server = start_server(f"--model_base_path={line}", "--enable_signature_method_name_check")

    def example_request(message, signature):
        message.model_spec.name = "default"
        message.model_spec.signature_name = signature
        features = message.input.example_list.examples.add().features
        features.feature["x"].float_list.value.append(1.0)
        return message

    classify = example_request(classification_pb2.ClassificationRequest(), "regress")
    assert failure(server.prediction.Classify, classify) == (
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be tensorflow/serving/classify."
        " Was: tensorflow/serving/regress",
    )
    regress = example_request(regression_pb2.RegressionRequest(), "classify")
    assert failure(server.prediction.Regress, regress) == (
        "INVALID_ARGUMENT",
        "Expected regression signature method_name to be tensorflow/serving/regress."
        " Was: tensorflow/serving/classify",
    )
    odd = float_request([1.0], model="default", signature="odd_method")
    assert failure(server.prediction.Predict, odd) == (
        "INTERNAL",
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}."
        " Was: tensorflow/serving/guess",
    )
    request = predict_pb2.PredictRequest()
    request.model_spec.CopyFrom(regress.model_spec)
    serialized = regress.input.example_list.examples[0].SerializeToString()
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([serialized]))
    assert server.prediction.Predict(request).outputs["scores"].float_val[0] == 2.5


@pytest.mark.parametrize(
    "method",
    [
        "tensorflow.serving.PredictionService/Absent",
        "tensorflow.serving.PredictionService/PredictStreamed",
        "tensorflow.serving.SessionService/SessionRun",
        "tensorflow.serving.Absent/Predict",
        "tensorflow.ProfilerService/Monitor",
    ],
)
def test_methods_that_are_not_there_are_unimplemented(suite, method):
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel:
        assert failure(channel.unary_unary(f"/{method}", None, None), b"")[0] == "UNIMPLEMENTED"


def test_deadline_that_passes_is_told_and_the_server_goes_on(suite):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "probe"
    request.model_spec.signature_name = "slow"
    request.inputs["rounds"].CopyFrom(tf.make_tensor_proto(2000))
    with pytest.raises(grpc.RpcError) as caught:
        suite.prediction.Predict(request, timeout=0.01)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert suite.prediction.Predict(float_request([1.0]), timeout=60).outputs["y"].float_val


def test_answers_are_as_large_as_they_must_be(suite):
    request = float_request([1.0] * 1_200_000)
    answer = suite.prediction.Predict(request, timeout=60)
    assert len(answer.outputs["y"].float_val) == 1_200_000
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel:  # with gRPC's own limit
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert failure(stub.Predict, request)[0] == "RESOURCE_EXHAUSTED"


def test_compressed_request_is_read(suite):
    answer = suite.prediction.Predict(
        float_request([1.0]), timeout=30, compression=grpc.Compression.Gzip
    )
    assert answer.outputs["y"].float_val[0] == 30.0


def test_field_of_metadata_asked_for_twice_comes_once(suite):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"] * 2)
    request.model_spec.name = "scale"
    assert list(suite.prediction.GetModelMetadata(request, timeout=30).metadata) == [
        "signature_def"
    ]
