"""Limits: what is too much is refused with RESOURCE_EXHAUSTED, everything else goes on."""

import gzip
import json

import grpc
import pytest
import requests
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import inference_pb2, predict_pb2, regression_pb2

from serving.access.limits import rows
from tests.serving.saved_models import Held, examples_request, float_request


def refusal(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=20, **options)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return caught.value.details()


def post(server, body, model="scale", **options):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/{model}:predict"
    return requests.post(url, data=data, timeout=20, **options)


def test_rows_over_the_limit_are_refused_over_both_transports(start_server, models):
    server = start_server(
        "--model_name=scale", f"--model_base_path={models / 'scale'}", "--max_request_rows=3"
    )
    text = "The request has 4 rows, and at most 3 are taken."
    full = server.prediction.Predict(float_request([1.0, 2.0, 3.0]), timeout=20)
    assert list(full.outputs["y"].float_val) == [30.0, 60.0, 90.0]
    assert refusal(server.prediction.Predict, float_request([1.0] * 4)) == text
    assert post(server, {"instances": [1.0] * 3}).json() == {"predictions": [30.0] * 3}
    for body in ({"instances": [1.0] * 4}, {"inputs": {"x": [1.0] * 4}}):
        answer = post(server, body)
        assert (answer.status_code, answer.json()) == (429, {"error": text})


def test_examples_are_rows_too(start_server, models):
    server = start_server(
        "--model_name=examples", f"--model_base_path={models / 'examples'}", "--max_request_rows=1"
    )
    request = examples_request(regression_pb2.RegressionRequest, "regress", 1.0, 2.0)
    text = "The request has 2 rows, and at most 1 are taken."
    assert refusal(server.prediction.Regress, request) == text
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/examples:regress"
    body = {"signature_name": "regress", "examples": [{"x": 1.0}, {"x": 2.0}]}
    answer = requests.post(url, data=json.dumps(body), timeout=20)
    assert (answer.status_code, answer.json()) == (429, {"error": text})
    del request.input.example_list.examples[1]
    assert server.prediction.Regress(request, timeout=20).result.regressions[0].value == 2.0


def test_rows_are_counted_from_shapes():
    request = predict_pb2.PredictRequest()
    request.inputs["k"].CopyFrom(tf.make_tensor_proto(10))
    assert rows(request) == 1
    request.inputs["user_id"].CopyFrom(tf.make_tensor_proto(["u", "v"]))
    request.inputs["history"].CopyFrom(tf.make_tensor_proto([["a"] * 9] * 2))
    assert rows(request) == 2
    examples = inference_pb2.MultiInferenceRequest()
    assert rows(examples) == 0
    examples.input.example_list_with_context.examples.add()
    assert rows(examples) == 1
    assert rows(inference_pb2.InferenceTask()) is None


def test_bytes_over_the_limit_are_refused_however_they_are_packed(start_server, models):
    server = start_server(
        "--model_name=scale", f"--model_base_path={models / 'scale'}", "--max_request_bytes=5000"
    )
    assert "larger than max" in refusal(server.prediction.Predict, float_request([1.0] * 2000))
    small, large = b'{"instances": [1.0]}', b'{"instances": [1.0]' + b" " * 5000 + b"}"
    error = {"error": "The request is larger than the 5000 bytes that are taken."}
    packed = gzip.compress(large)
    assert len(packed) < 5000
    for answer in (
        post(server, large),
        post(server, packed, headers={"Content-Encoding": "gzip"}),
    ):
        assert (answer.status_code, answer.json()) == (429, error)
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/scale:predict"
    with requests.Session() as session:
        chunked = session.post(url, data=iter([large[:3000], large[3000:]]), timeout=20)
        assert (chunked.status_code, chunked.json()) == (429, error)
        # A refused body of this size is read to its end, so the connection goes on.
        assert session.post(url, data=small, timeout=20).json() == {"predictions": [30.0]}
    assert post(server, gzip.compress(small), headers={"Content-Encoding": "gzip"}).json() == {
        "predictions": [30.0]
    }
    answer = server.prediction.Predict(float_request([1.0]), timeout=20)
    assert list(answer.outputs["y"].float_val) == [30.0]


def test_requests_beyond_the_concurrency_limit_are_refused_and_the_rest_answers(
    start_server, models, tmp_path
):
    server = start_server(
        "--model_name=probe",
        f"--model_base_path={models / 'probe'}",
        "--max_concurrent_requests=1",
        "--enable_grpc_healthcheck_service",
    )
    echo = predict_pb2.PredictRequest()
    echo.model_spec.name, echo.model_spec.signature_name = "probe", "echo"
    echo.inputs["text"].CopyFrom(tf.make_tensor_proto(["x"]))
    body = {"signature_name": "echo", "instances": ["x"]}
    text = "1 requests are in progress, and no more are taken at a time."

    held = Held(server, tmp_path)
    assert refusal(server.prediction.Predict, echo) == text
    answer = post(server, body, model="probe")
    assert (answer.status_code, answer.json()) == (429, {"error": text})
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=20
        )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert server.states("probe")[1][0] == "AVAILABLE"
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/probe"
    assert requests.get(url, timeout=20).status_code == 200

    held.let_go()
    assert server.prediction.Predict(echo, timeout=20).outputs["plain"].string_val == [b"x"]
    assert post(server, body, model="probe").json()["predictions"][0]["plain"] == "x"
