"""The access log: a line per call, nothing personal in any of them."""

import hashlib
import json
from datetime import datetime, timedelta

import grpc
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from serving.access.access_log import AccessLog, Record
from serving.versions.loading import LoadOptions
from serving.versions.model_registry import ModelRegistry

FIELDS = {
    "time",
    "transport",
    "method",
    "signature",
    "model",
    "version",
    "code",
    "milliseconds",
    "rows",
    "request_bytes",
    "response_bytes",
}
# A personal mark in every place where a client can put one.
USER, ITEM, PROFILE = "user-4711", "item-0815", "likes-running"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.jsonl"


@pytest.fixture
def server(start_server, models, path):
    return start_server(
        "--model_name=shop", f"--model_base_path={models / 'shop'}", f"--access_log_file={path}"
    )


def lines(path):
    """The log, checked for its form: exactly the known fields, each of its type."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        assert set(entry) == FIELDS
        assert datetime.fromisoformat(entry["time"]).utcoffset() == timedelta(0)
        assert entry["milliseconds"] >= 0
    return entries


def recommend(model="shop", signature="recommend", k=2):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    values = {
        "user_id": [USER, USER],
        "history": [[ITEM], [ITEM]],
        "profile": [PROFILE, PROFILE],
        "k": tf.constant(k),
        "new_only": False,
    }
    for name, value in values.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_answers_over_grpc_are_logged_with_what_they_took(server, path):
    request = recommend()
    answer = server.prediction.Predict(request, timeout=20)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "shop"
    server.prediction.GetModelMetadata(metadata, timeout=20)
    assert server.states("shop")[1][0] == "AVAILABLE"
    predicted, described, stated = lines(path)
    assert predicted["transport"] == "grpc"
    assert (predicted["method"], predicted["signature"]) == ("Predict", "recommend")
    assert (predicted["model"], predicted["version"], predicted["code"]) == ("shop", 1, "OK")
    assert predicted["rows"] == 2
    assert predicted["request_bytes"] == request.ByteSize()
    assert predicted["response_bytes"] == answer.ByteSize()
    assert (described["method"], described["model"]) == ("GetModelMetadata", "shop")
    assert (described["version"], described["rows"]) == (1, None)
    assert (stated["method"], stated["model"], stated["code"]) == ("GetModelStatus", "shop", "OK")


def test_answers_over_rest_are_logged_alike(server, path):
    base = f"http://127.0.0.1:{server.rest_port}/v1/models/shop"
    body = json.dumps(
        {
            "signature_name": "recommend",
            "inputs": {
                "user_id": [USER],
                "history": [[ITEM]],
                "profile": [PROFILE],
                "k": 2,
                "new_only": False,
            },
        }
    )
    answer = requests.post(f"{base}:predict", data=body, timeout=20)
    assert answer.status_code == 200
    assert requests.get(f"{base}/metadata", timeout=20).status_code == 200
    predicted, described = lines(path)
    assert predicted["transport"] == "rest"
    assert (predicted["method"], predicted["signature"]) == ("Predict", "recommend")
    assert (predicted["model"], predicted["version"], predicted["code"]) == ("shop", 1, "200")
    assert predicted["rows"] == 1
    assert predicted["request_bytes"] == len(body)
    assert predicted["response_bytes"] == len(answer.content)
    assert (described["method"], described["version"]) == ("GetModelMetadata", 1)


def test_nothing_a_client_sent_is_repeated_even_where_it_fails(server, path):
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(recommend(k=0), timeout=20)  # the graph refuses
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(recommend(model=USER), timeout=20)
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(recommend(signature=USER), timeout=20)
    server.prediction.Predict(recommend(), timeout=20)
    base = f"http://127.0.0.1:{server.rest_port}/v1"
    for target, body in (
        (f"models/{USER}:predict", {"inputs": {"user_id": [USER]}}),
        ("models/shop:predict", {"signature_name": USER, "instances": [ITEM]}),
        (f"models/shop/labels/{USER}:predict", {"instances": [ITEM]}),
        (f"{USER}/{ITEM}?profile={PROFILE}", {"instances": [ITEM]}),
        ("models/shop:predict", {"instances": PROFILE}),
    ):
        requests.post(f"{base}/{target}", json=body, headers={"X-User": USER}, timeout=20)
    text = path.read_text()
    assert not any(mark in text for mark in (USER, ITEM, PROFILE, "127.0.0.1"))
    entries = lines(path)
    assert [(entry["code"], entry["model"], entry["signature"]) for entry in entries] == [
        ("INVALID_ARGUMENT", "shop", "recommend"),
        ("NOT_FOUND", None, None),
        ("FAILED_PRECONDITION", "shop", None),
        ("OK", "shop", "recommend"),
        ("404", None, None),
        ("400", "shop", None),
        ("400", "shop", None),
        ("400", None, None),
        ("400", "shop", None),
    ]


def test_refused_calls_are_logged_too(start_server, models, path, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(hashlib.sha256(b"t" * 40).hexdigest())
    server = start_server(
        "--model_name=shop",
        f"--model_base_path={models / 'shop'}",
        f"--access_log_file={path}",
        f"--auth_token_file={tokens}",
        "--max_request_rows=1",
    )
    request = recommend()
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(request, timeout=20)
    with pytest.raises(grpc.RpcError):
        server.prediction.Predict(
            request, metadata=(("authorization", "Bearer " + "t" * 40),), timeout=20
        )
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/shop"
    assert requests.get(url, timeout=20).status_code == 401
    stranger, greedy, rest = lines(path)
    assert (stranger["code"], stranger["model"]) == ("UNAUTHENTICATED", None)
    assert stranger["request_bytes"] == request.ByteSize()
    assert (greedy["code"], greedy["model"], greedy["rows"]) == ("RESOURCE_EXHAUSTED", "shop", 2)
    assert (rest["code"], rest["model"]) == ("401", None)


def test_line_that_a_crash_left_unfinished_does_not_spoil_the_next(path):
    def write():
        AccessLog(str(path), ModelRegistry(LoadOptions())).write(
            Record("Predict"),
            transport="grpc",
            code="INTERNAL",
            seconds=0.001,
            request_bytes=1,
            response_bytes=0,
        )

    write()
    with path.open("a") as file:
        file.write('{"time": "2026-01')
    write()
    first, broken, last = path.read_text().splitlines()
    assert broken == '{"time": "2026-01'
    assert json.loads(first)["code"] == json.loads(last)["code"] == "INTERNAL"
    assert path.read_text().endswith("\n")
