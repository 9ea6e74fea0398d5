"""The conformance table: what a client may rely on, whichever server answers.

Against the embedded server, or against any other that serves the models of
`tests.serving.conformance.models`, named by DEBUT_SERVING_TARGET=HOST:GRPC_PORT[,REST_PORT].
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import requests
import yaml
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tests.docs.pages import table
from tests.serving.conformance import models, notation
from tests.serving.conftest import Servers

TABLE = Path(__file__).parent / "conformance" / "table"


def _entries():
    for file in sorted(TABLE.glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
            yield pytest.param(entry, id=f"{file.stem}/{entry['id']}")


class Target(NamedTuple):
    """Where the questions go; `rest` is None where the target has no REST port."""

    grpc: grpc.Channel
    rest: str | None


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    named = os.environ.get("DEBUT_SERVING_TARGET")
    servers = Servers()
    if named:
        address, _, rest_port = named.partition(",")
        host = address.rpartition(":")[0]
        rest = f"{host}:{rest_port}" if rest_port else None
    else:
        config = models.write(tmp_path_factory.mktemp("conformance"))
        server = servers(f"--model_config_file={config}")
        address, rest = f"127.0.0.1:{server.grpc_port}", f"127.0.0.1:{server.rest_port}"
    with grpc.insecure_channel(address) as channel:
        yield Target(channel, rest)
    servers.stop()


@pytest.mark.parametrize("entry", _entries())
def test_answer_is_the_tables(target, entry):
    method, _, path = entry["call"].partition(" ")
    if not path:
        _check_grpc(target.grpc, entry)
    elif target.rest is None:
        pytest.skip("DEBUT_SERVING_TARGET names no REST port")
    else:
        _check_rest(f"http://{target.rest}{path}", method, entry)


def _check_grpc(channel: grpc.Channel, entry: dict[str, Any]) -> None:
    service = (
        model_service_pb2_grpc.ModelServiceStub
        if entry["call"] == "GetModelStatus"
        else prediction_service_pb2_grpc.PredictionServiceStub
    )
    call = getattr(service(channel), entry["call"])
    message = notation.request(entry["call"], entry["request"])
    if entry["code"] == "OK":
        answer = notation.given(call(message, timeout=60))
        assert answer == _close_to(notation.expected(entry["answer"]))
        return
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=60)
    assert caught.value.code().name == entry["code"]
    _check_message(str(caught.value.details()), entry)


def _check_rest(url: str, method: str, entry: dict[str, Any]) -> None:
    body = entry["body"].encode() if "body" in entry else None
    answer = requests.request(method, url, data=body, headers=entry.get("headers"), timeout=60)
    assert answer.status_code == entry["code"], answer.text
    if "text" in entry:
        assert answer.text == entry["text"]
    elif "answer" in entry:
        assert answer.json() == _close_to(entry["answer"])
    else:
        [(key, message)] = answer.json().items()
        assert key == "error"
        _check_message(message, entry)


def _check_message(message: str, entry: dict[str, Any]) -> None:
    message = notation.without_function_numbers(message)
    if "matches" in entry:
        assert re.fullmatch(entry["matches"], message)
    else:
        assert message == entry["message"]


class _close_to:
    """Equal to a value with the same structure, whose numbers are near and NaNs in place."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return json.dumps(self.value)

    def __eq__(self, other):
        return _close(self.value, other)


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-6)
    return type(a) is type(b) and a == b


def test_reference_counts_what_is_there():
    files = (file for kind in ("table", "stories") for file in (TABLE.parent / kind).glob("*.yaml"))
    there = {file.name: len(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files}
    rows = table("docs/reference/serving-conformance.md", "file")
    counted = {row["file"].strip("`"): int(row["entries"]) for row in rows}
    assert there == counted


def test_every_entry_says_what_it_protects_and_what_is_expected():
    for entry in (param.values[0] for param in _entries()):
        assert entry["protects"].strip()
        assert len(entry.keys() & {"text", "answer", "message", "matches"}) == 1
