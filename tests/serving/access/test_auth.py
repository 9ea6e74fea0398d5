"""Bearer tokens: who gets in over gRPC and REST, and what a token file may hold."""

import gzip
import hashlib
import itertools
import socket

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from serving.access.auth import Tokens, read_tokens
from serving.status import StatusError
from tests.serving.saved_models import float_request

TOKENS = ("a" * 40, "b" * 40)
WRONG = (
    None,
    "",
    "Bearer",
    "Bearer ",
    f"Bearer {TOKENS[0]}x",
    f"Basic {TOKENS[0]}",
    f"Digest {TOKENS[0]}",  # as long as the scheme that is asked for
    TOKENS[0],
    "Bearer " + hashlib.sha256(TOKENS[0].encode()).hexdigest(),
)


def hashes(tokens):
    return "".join(hashlib.sha256(token.encode()).hexdigest() + "\n" for token in tokens)


@pytest.fixture
def server(start_server, models, tmp_path):
    tokens, monitoring = tmp_path / "tokens", tmp_path / "monitoring.config"
    tokens.write_text("# two clients\n\n" + hashes(TOKENS))
    monitoring.write_text("prometheus_config { enable: true }")
    return start_server(
        "--model_name=scale",
        f"--model_base_path={models / 'scale'}",
        f"--auth_token_file={tokens}",
        f"--monitoring_config_file={monitoring}",
        "--enable_grpc_healthcheck_service",
    )


def metadata(value):
    return () if value is None else (("authorization", value),)


def test_grpc_lets_each_token_in(server):
    for token in TOKENS:
        answer = server.prediction.Predict(
            float_request([1.0]), metadata=metadata(f"Bearer {token}"), timeout=20
        )
        assert list(answer.outputs["y"].float_val) == [30.0]


def test_grpc_needs_a_token_for_every_method(server):
    services = [
        *prediction_service_pb2.DESCRIPTOR.services_by_name.values(),
        *model_service_pb2.DESCRIPTOR.services_by_name.values(),
        *reflection_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    methods = [
        f"/{service.full_name}/{one.name}" for service in services for one in service.methods
    ]
    assert {method.rpartition("/")[2] for method in methods} == {
        "Classify", "Regress", "Predict", "MultiInference", "GetModelMetadata", "GetModelStatus",
        "HandleReloadConfigRequest", "ServerReflectionInfo",
    }  # fmt: skip
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        for method in methods:
            call = channel.unary_unary(method, bytes, bytes)
            for value in WRONG:
                with pytest.raises(grpc.RpcError) as caught:
                    call(b"", metadata=metadata(value), timeout=20)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, method
                assert caught.value.details() == "A valid bearer token is required."


def test_health_needs_no_token(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_rest_needs_a_token_for_every_path_of_the_api(server):
    base = f"http://127.0.0.1:{server.rest_port}"
    model, body = f"{base}/v1/models/scale", b'{"instances": [1.0]}'
    asked = [("GET", path) for path in ("", "/metadata", "/versions/3", "/versions/3/metadata")]
    asked += [("POST", path) for path in (":predict", ":classify", ":regress")]
    with requests.Session() as session:
        for (method, path), value in itertools.product(asked, WRONG):
            headers = {} if value is None else {"Authorization": value}
            answer = session.request(
                method,
                model + path,
                data=gzip.compress(body) if method == "POST" else None,
                headers=headers | {"Content-Encoding": "gzip"},
                timeout=20,
            )
            assert answer.status_code == 401, path
            assert answer.json() == {"error": "A valid bearer token is required."}
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        # The connection that was refused is still good.
        answer = session.post(
            f"{model}:predict",
            data=body,
            headers={"Authorization": f"bearer {TOKENS[1]}"},
            timeout=20,
        )
        assert answer.json() == {"predictions": [30.0]}
        assert session.get(f"{base}/elsewhere", timeout=20).status_code == 404


def test_metrics_need_no_token(server):
    page = f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics"
    answer = requests.get(page, timeout=20)
    assert answer.status_code == 200 and "# TYPE " in answer.text


def test_a_body_without_a_token_is_not_read_without_end(server):
    """Its client is answered while it still sends, and the connection is closed."""
    size = 17 << 20
    head = b"POST /v1/models/scale:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (1 << 40)
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as raw:
        raw.sendall(head + b"x" * size)
        answer = raw.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer


def test_comparison_looks_at_every_token_in_constant_time(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append(right)
        return left == right

    monkeypatch.setattr("serving.access.auth.hmac.compare_digest", compare)
    digests = [hashlib.sha256(token.encode()).digest() for token in TOKENS]
    assert Tokens(digests).accepts(f"Bearer {TOKENS[0]}")
    assert compared == digests


def test_file_without_usable_tokens_is_refused_and_never_quoted(tmp_path):
    path = tmp_path / "tokens"

    def refusal():
        with pytest.raises(StatusError) as caught:
            read_tokens(str(path))
        return str(caught.value)

    assert refusal() == f"NOT_FOUND: {path}; No such file or directory"
    path.write_text("# nobody\n")
    assert refusal().startswith(f"INVALID_ARGUMENT: {path}; holds no token")
    path.write_text(hashes(TOKENS) + "my-secret-token\n")
    assert refusal() == f"INVALID_ARGUMENT: {path}; line 3 is not a SHA-256 in hexadecimal"
    path.write_bytes(b"\xff\xfe")
    assert refusal() == f"INVALID_ARGUMENT: {path}; not a text file"
