"""Prometheus' page, held to what a real server's counters did (the recorded `metrics.*` cases)."""

import re
import threading
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
)
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest as Classification
from tensorflow_serving.apis.regression_pb2 import RegressionRequest as Regression

from serving import flags
from serving.metrics import Metrics
from serving.server import ModelServer
from serving.status import StatusError, invalid_argument
from tests.serving import saved_models
from tests.serving.conftest import Servers
from tests.serving.saved_models import (
    examples_request,
    float_request,
    predict_record,
    write_warm_up,
)

PATH = "/monitoring/prometheus/metrics"
REQUESTS = "request_count_total"  # the parser adds `_total` to the name of a counter
LIMITS = [10 * 1.8**n for n in range(33)]


def monitoring(folder, text):
    file = folder / "monitoring.config"
    file.write_text(text)
    return f"--monitoring_config_file={file}"


def get(server, path=PATH):
    return requests.get(f"http://127.0.0.1:{server.rest_port}{path}", timeout=30)


def samples(text):
    """Every sample but the bounds of histograms: `name{labels}` to value."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


def expected(name, **labels):
    return f":tensorflow:serving:{name}{sorted(labels.items())}"


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """Every test model, and the page."""
    folder = tmp_path_factory.mktemp("config")
    config = saved_models.write_config(
        folder / "models.config", {name: models / name for name in ("scale", "probe", "examples")}
    )
    servers = Servers()
    yield servers(
        f"--model_config_file={config}", monitoring(folder, "prometheus_config { enable: true }")
    )
    servers.stop()


def count(model, status="OK"):
    return {expected(REQUESTS, model_name=model, status=status): 1}


def time_of(model, api, entrypoint):
    labels = {"model_name": model, "API": api, "entrypoint": entrypoint}
    return {expected("request_latency_count", **labels): 1}


def run_of(model, api):
    labels = {"model_name": model, "API": api, "runtime": "TF1"}
    return {expected("runtime_latency_count", **labels): 1}


def negative():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "probe"
    request.model_spec.signature_name = "positive"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([-1], np.float32)))
    return request


def multi_inference(feature="x"):
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.name = "examples"
    task.model_spec.signature_name = "classify"
    for _ in range(2):
        features = request.input.example_list.examples.add().features
        features.feature[feature].float_list.value.append(1)
    return request


def metadata_request():
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "scale"
    return request


def status_request():
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "scale"
    return request


GRPC = {
    "predict": (
        lambda s: s.prediction.Predict(float_request([1.0])),
        count("scale") | time_of("scale", "Predict", "GRPC") | run_of("scale", "Predict"),
    ),
    "unknown signature": (
        lambda s: s.prediction.Predict(float_request([1.0], signature="nope")),
        count("scale", "FAILED_PRECONDITION"),
    ),
    "unknown model": (
        lambda s: s.prediction.Predict(float_request([1.0], model="nope")),
        count("nope", "NOT_FOUND"),
    ),
    "no spec": (
        lambda s: s.prediction.Predict(predict_pb2.PredictRequest()),
        count("", "INVALID_ARGUMENT"),
    ),
    "failing op": (lambda s: s.prediction.Predict(negative()), count("probe", "INVALID_ARGUMENT")),
    "classify": (
        lambda s: s.prediction.Classify(examples_request(Classification, "classify", 1.5)),
        count("examples")
        | time_of("examples", "Classify", "GRPC")
        | run_of("examples", "Classify"),
    ),
    "regress": (
        lambda s: s.prediction.Regress(examples_request(Regression, "regress", 1.5)),
        count("examples") | time_of("examples", "Regress", "GRPC") | run_of("examples", "Regress"),
    ),
    "multi inference": (
        lambda s: s.prediction.MultiInference(multi_inference()),
        {
            expected("request_example_counts_count", model="examples"): 1,
            expected("request_example_count_total", model="examples"): 2,
        },
    ),
    "failing multi inference": (lambda s: s.prediction.MultiInference(multi_inference("y")), {}),
    "metadata": (lambda s: s.prediction.GetModelMetadata(metadata_request()), {}),
    "status": (lambda s: s.models.GetModelStatus(status_request()), {}),
}


@pytest.mark.parametrize("call", GRPC)
def test_grpc_calls_change_the_counters_that_they_change_in_the_stock_server(server, call):
    ask, changes = GRPC[call]
    before = samples(get(server).text)
    try:
        ask(server)
    except grpc.RpcError:
        assert not any("OK" in key for key in changes)
    assert changed(before, server) == changes


def changed(before, server):
    after = samples(get(server).text)
    return {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}


EXAMPLE = {"signature_name": "classify", "examples": [{"x": 1.5}]}
REST: dict[str, Any] = {
    "predict": (
        ("POST", "/v1/models/scale:predict", {"instances": [1]}),
        count("scale") | time_of("scale", "predict", "REST") | run_of("scale", "Predict"),
    ),
    "no JSON": (("POST", "/v1/models/scale:predict", None), count("scale", "INVALID_ARGUMENT")),
    "unknown model": (
        ("POST", "/v1/models/nope:predict", {"instances": [1]}),
        count("nope", "NOT_FOUND"),
    ),
    "malformed": (("POST", "/v1/models/scale:nope", {}), count("", "INVALID_ARGUMENT")),
    "verb in capitals": (
        ("POST", "/v1/models/scale:PREDICT", {"instances": [1]}),
        count("scale", "INVALID_ARGUMENT"),
    ),
    "preflight": (
        ("OPTIONS", "/v1/models/scale", None, {"Origin": "http://shop"}),
        count("") | time_of("", "", "REST"),
    ),
    "preflight without origin": (
        ("OPTIONS", "/v1/models/scale", None),
        count("", "FAILED_PRECONDITION"),
    ),
    "outside": (("GET", "/foo", None), {}),
    "status": (("GET", "/v1/models/scale", None), count("scale") | time_of("scale", "", "REST")),
    "status of unknown model": (("GET", "/v1/models/nope", None), count("nope", "NOT_FOUND")),
    "metadata": (
        ("GET", "/v1/models/scale/metadata", None),
        count("scale") | time_of("scale", "", "REST"),
    ),
    "classify": (
        ("POST", "/v1/models/examples:classify", EXAMPLE),
        count("examples")
        | time_of("examples", "classify", "REST")
        | run_of("examples", "Classify"),
    ),
    "regress": (
        ("POST", "/v1/models/examples:regress", EXAMPLE | {"signature_name": "regress"}),
        count("examples") | time_of("examples", "regress", "REST") | run_of("examples", "Regress"),
    ),
}


@pytest.mark.parametrize("call", REST)
def test_rest_calls_change_the_counters_that_they_change_in_the_stock_server(server, call):
    (method, path, body, *headers), changes = REST[call]
    before = samples(get(server).text)
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    requests.request(method, url, json=body, headers=dict(*headers), timeout=30)
    assert changed(before, server) == changes


def test_bounds_are_the_stock_servers_as_it_writes_them(server):
    server.prediction.Predict(float_request([1.0]))
    text = get(server).text
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in text
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert '\n:tensorflow:serving:request_count{model_name="scale",status="OK"} ' in text
    labels = re.escape('model_name="scale",API="Predict",entrypoint="GRPC"')
    bounds = re.findall(rf':serving:request_latency_bucket{{{labels},le="([^"]+)"}} \d+\n', text)
    assert bounds == [f"{limit:.6g}" for limit in LIMITS] + ["+Inf"]
    assert bounds[5] == "188.957" and bounds[20] == "1.27482e+06"  # as recorded


def test_buckets_count_what_is_not_slower():
    metrics = Metrics()
    for _ in range(3):
        with metrics.runtime("m", "Predict"):
            pass
    families = {f.name: f for f in text_string_to_metric_families(metrics.text())}
    latency = families[":tensorflow:serving:runtime_latency"].samples
    buckets = [s.value for s in latency if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == 3
    (total,) = [s.value for s in latency if s.name.endswith("_sum")]
    assert total < 3 * LIMITS[-1]


def test_labels_are_escaped_and_too_many_unknown_names_share_one():
    metrics = Metrics()
    odd = 'a"b\\c\nd'
    with metrics.request(odd, "Predict", "GRPC"):
        pass
    for n in range(1500):
        with pytest.raises(StatusError), metrics.request(f"n{n}", "Predict", "GRPC"):
            raise invalid_argument("")
    with pytest.raises(ValueError, match="odd"), metrics.request(odd, "Predict", "GRPC"):
        raise ValueError("odd")
    found = samples(metrics.text())
    assert found[expected(REQUESTS, model_name=odd, status="OK")] == 1
    assert found[expected(REQUESTS, model_name=odd, status="INTERNAL")] == 1
    assert found[expected(REQUESTS, model_name="n5", status="INVALID_ARGUMENT")] == 1
    rest = found[expected(REQUESTS, model_name="", status="INVALID_ARGUMENT")]
    assert rest == 1500 - 999


def test_loads_and_warm_ups_are_counted_by_folder(start_server, tmp_path):
    base = tmp_path / "scale"
    base.mkdir()
    saved_models.save_scale(str(base), 1, 10)
    server = start_server(
        "--model_name=scale",
        f"--model_base_path={base}",
        "--max_num_load_retries=0",
        monitoring(tmp_path, "prometheus_config { enable: true }"),
    )
    text = get(server).text
    loaded = ":tensorflow:cc:saved_model:load_attempt_count"
    assert f'{loaded}{{model_path="{base}/1",status="success"}} 1\n' in text
    assert "# TYPE :tensorflow:serving:model_warmup_latency histogram\n" in text
    assert "model_warmup_latency_count" not in text
    saved_models.save_scale(str(base), "2.part", 20)
    write_warm_up(str(base / "2.part"), [predict_record(float_request([1.0]))] * 3)
    (base / "2.part").rename(base / "2")
    server.wait_for("scale", 2, "AVAILABLE")
    warmed = expected("model_warmup_latency_count", model_path=f"{base}/2", status="OK")
    assert samples(get(server).text)[warmed] == 1
    (base / "3.part").mkdir()
    (base / "3.part" / "saved_model.pb").write_bytes(b"\xff" * 50)
    (base / "3.part").rename(base / "3")
    server.wait_for("scale", 3, "END")
    text = get(server).text
    assert f'{loaded}{{model_path="{base}/3",status="fail"}} 1\n' in text
    for version in (1, 2, 3):  # TensorFlow's loader times failures too
        assert f':tensorflow:cc:saved_model:load_latency{{model_path="{base}/{version}"}} ' in text


@pytest.mark.parametrize(
    ("config", "found", "missing"),
    [
        ('prometheus_config { enable: true path: "/m" }', ["/m"], [PATH]),
        ("prometheus_config { enable: true }", [PATH], [PATH + "/", "/m"]),
        ('prometheus_config { enable: true path: "m" }', [], ["/m", PATH]),
        ("prometheus_config { enable: false }", [], [PATH]),
    ],
    ids=["other path", "default path", "no leading slash", "off"],
)
def test_page_is_where_the_config_says(start_server, models, tmp_path, config, found, missing):
    server = start_server(f"--model_base_path={models / 'scale'}", monitoring(tmp_path, config))
    for path in found:
        answer = get(server, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain")
        posted = requests.post(f"http://127.0.0.1:{server.rest_port}{path}", timeout=30)
        assert posted.text.startswith("# TYPE :tensorflow:")
    assert [get(server, path).status_code for path in missing] == [404] * len(missing)


def test_page_is_asked_for_without_a_query(server):
    answer = get(server, PATH + "?x=1")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain")
    assert answer.text == f"Unexpected path: {PATH}?x=1. Should be {PATH}"


def test_config_that_can_not_be_used_ends_the_start_of_a_server_with_rest(tmp_path):
    parsed = ["--model_base_path=/x", monitoring(tmp_path, "prometheus { }")]
    with pytest.raises(StatusError, match="Invalid protobuf file"):
        ModelServer(flags.parse([*parsed, "--rest_api_port=8501"]), threading.Event())
    for without in ([], ["--rest_api_port=8500"]):
        ModelServer(flags.parse([*parsed, *without]), threading.Event())
