"""Counters and histograms as Prometheus reads them; which call moves which one."""

import contextlib
import http.client
import json
import shutil

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.serving.saved_models import float_request, predict_record, write_warm_up

PREFIX = ":tensorflow:serving:"
PATH = "/monitoring/prometheus/metrics"


@pytest.fixture
def monitored(models, start_server, tmp_path):
    """Starts a server of the models with metrics, at the default path or another one."""

    def start(path=""):
        config, monitoring = tmp_path / "models.config", tmp_path / "monitoring.config"
        config.write_text(
            "model_config_list {"
            + "".join(
                f'config {{ name: "{name}" base_path: "{models / name}"'
                ' model_platform: "tensorflow" }'
                for name in ("scale", "probe", "examples")
            )
            + "}"
        )
        monitoring.write_text(f'prometheus_config {{ enable: true path: "{path}" }}')
        return start_server(
            f"--model_config_file={config}", f"--monitoring_config_file={monitoring}"
        )

    return start


def rest(server, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()
    finally:
        connection.close()


def counts(server):
    """All counters, and how often each histogram was told something."""
    status, _, text = rest(server, "GET", PATH)
    assert status == 200
    return {
        # The parser gives a counter's name the ending that the stock server leaves out.
        (
            sample.name.removeprefix(PREFIX).removesuffix("_total"),
            tuple(sample.labels.values()),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


def moved(server, call):
    before = counts(server)
    with contextlib.suppress(grpc.RpcError):  # a refusal moves a counter too
        call()
    return {
        key: value - before.get(key, 0.0)
        for key, value in counts(server).items()
        if value != before.get(key, 0.0)
    }


def answered(model, api, entrypoint, runtime):
    found = {
        ("request_count", (model, "OK")): 1.0,
        ("request_latency_count", (model, api, entrypoint)): 1.0,
    }
    return found | ({("runtime_latency_count", (model, runtime, "TF1")): 1.0} if runtime else {})


def refused(model, status):
    return {("request_count", (model, status)): 1.0}


def example_request(kind, signature):
    request = kind()
    request.model_spec.name = "examples"
    request.model_spec.signature_name = signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    return request


def test_grpc_calls_are_counted_by_model_api_and_status(monitored):
    server = monitored()
    ask = server.prediction
    no_model = predict_pb2.PredictRequest()
    classify = example_request(classification_pb2.ClassificationRequest, "classify")
    regress = example_request(regression_pb2.RegressionRequest, "regress")
    multi = inference_pb2.MultiInferenceRequest()
    task = multi.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.CopyFrom(regress.model_spec)
    multi.input.CopyFrom(regress.input)
    calls = {
        "classify": (
            lambda: ask.Classify(classify),
            answered("examples", "Classify", "GRPC", "Classify"),
        ),
        "regress": (
            lambda: ask.Regress(regress),
            answered("examples", "Regress", "GRPC", "Regress"),
        ),
        "multi inference": (
            lambda: ask.MultiInference(multi),
            {
                ("request_example_count", ("examples",)): 1.0,
                ("request_example_counts_count", ("examples",)): 1.0,
            },
        ),
        "predict": (
            lambda: ask.Predict(float_request([1.0])),
            answered("scale", "Predict", "GRPC", "Predict"),
        ),
        "bad input": (
            lambda: ask.Predict(float_request([1.0], signature="nope")),
            refused("scale", "FAILED_PRECONDITION"),
        ),
        "unknown model": (
            lambda: ask.Predict(float_request([1.0], model="nope")),
            refused("nope", "NOT_FOUND"),
        ),
        "no model": (lambda: ask.Predict(no_model), refused("", "INVALID_ARGUMENT")),
        "status": (
            lambda: server.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest()),
            {},
        ),
        "metadata": (
            lambda: ask.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest()),
            {},
        ),
    }
    for name, (call, expected) in calls.items():
        assert moved(server, call) == expected, name


def test_rest_calls_are_counted_wherever_they_end(monitored):
    server = monitored()
    scale = "/v1/models/scale"
    calls = {
        ("POST", f"{scale}:predict", '{"instances": [1.0]}'): answered(
            "scale", "predict", "REST", "Predict"
        ),
        ("POST", f"{scale}:predict", '{"instances": "'): refused("scale", "INVALID_ARGUMENT"),
        ("POST", "/v1/models/nope:predict", '{"instances": [1.0]}'): refused("nope", "NOT_FOUND"),
        ("GET", scale, None): answered("scale", "", "REST", None),
        ("GET", f"{scale}/metadata", None): answered("scale", "", "REST", None),
        ("GET", "/v1/models/nope", None): refused("nope", "NOT_FOUND"),
        ("GET", "/v1/what", None): refused("", "INVALID_ARGUMENT"),
        ("GET", "/what", None): {},
    }
    for (method, path, body), expected in calls.items():

        def call(method=method, path=path, body=body):
            connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
            connection.request(method, path, body)
            connection.getresponse().read()
            connection.close()

        assert moved(server, call) == expected, path


def test_latency_buckets_are_the_stock_servers(monitored):
    server = monitored()
    server.prediction.Predict(float_request([1.0]), timeout=10)
    _, kind, text = rest(server, "GET", PATH)
    assert kind == "text/plain"
    bounds = [
        line.split('le="')[1].split('"')[0]
        for line in text.splitlines()
        if line.startswith(f"{PREFIX}request_latency_bucket")
    ]
    assert bounds[:4] == ["10", "18", "32.4", "58.32"]
    assert [float(bound) for bound in bounds[:-1]] == pytest.approx(
        [10 * 1.8**n for n in range(33)], rel=1e-5
    )
    assert bounds[-1] == "+Inf"
    assert f"# TYPE {PREFIX}request_count counter" in text.splitlines()
    assert f"# TYPE {PREFIX}request_latency histogram" in text.splitlines()


def test_path_can_be_chosen(monitored):
    server = monitored("/m")
    assert rest(server, "GET", "/m")[0] == rest(server, "POST", "/m")[0] == 200
    assert rest(server, "GET", PATH)[0] == 404


def test_without_a_configuration_there_are_no_metrics(suite):
    assert rest(suite, "GET", PATH)[0] == 404


def test_label_with_quotes_and_newlines_is_escaped(monitored):
    server = monitored()
    name = 'a"b\\c\nd'
    expected = refused(name, "NOT_FOUND")
    ask = server.prediction.Predict
    assert moved(server, lambda: ask(float_request([1.0], model=name))) == expected


def test_warm_up_is_timed(models, start_server, tmp_path):
    version = tmp_path / "scale" / "3"
    shutil.copytree(models / "scale" / "3", version)
    write_warm_up(str(version), [predict_record(float_request([1.0]))])
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    server = start_server(
        f"--model_base_path={version.parent}", f"--monitoring_config_file={monitoring}"
    )
    assert counts(server)[("model_warmup_latency_count", (str(version), "OK"))] == 1.0
