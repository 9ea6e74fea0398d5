"""TLS on the gRPC port, with certificates of an authority made for the test."""

import grpc
import pytest
import trustme
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.config_messages import SSLConfig
from serving.status import StatusError
from tests.serving.saved_models import float_request

OURS, OTHERS = trustme.CA(), trustme.CA()
SERVER = OURS.issue_cert("localhost", "127.0.0.1")


def pem(blob):
    return blob.bytes().decode()


def key(certificate):
    return pem(certificate.private_key_pem)


def chain(certificate):
    return "".join(pem(blob) for blob in certificate.cert_chain_pems)


@pytest.fixture
def flag(tmp_path):
    """Writes an `SSLConfig`; answers the flag."""

    def write(**fields):
        given = {"server_key": key(SERVER), "server_cert": chain(SERVER)} | fields
        path = tmp_path / "ssl.pbtxt"
        path.write_text(text_format.MessageToString(SSLConfig(**given)))
        return f"--ssl_config_file={path}"

    return write


def ask(port, credentials):
    """Predict over a channel with these credentials (None: without TLS)."""
    target = f"localhost:{port}"
    with (
        grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)
    ) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(float_request([2.0]), timeout=10)
    return list(answer.outputs["y"].float_val)


def client(certificate=None):
    """Trusts our authority; shows a certificate where there is one."""
    root = pem(OURS.cert_pem).encode()
    if certificate is None:
        return grpc.ssl_channel_credentials(root)
    return grpc.ssl_channel_credentials(
        root, key(certificate).encode(), chain(certificate).encode()
    )


@pytest.fixture
def scale(models):
    return f"--model_base_path={models / 'scale'}", "--model_name=scale"


def test_client_that_trusts_the_authority_is_answered(scale, start_server, flag):
    server = start_server(*scale, flag())
    assert ask(server.grpc_port, client()) == [60.0]


def test_client_without_tls_is_not(scale, start_server, flag):
    server = start_server(*scale, flag())
    with pytest.raises(grpc.RpcError) as caught:
        ask(server.grpc_port, None)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_wants_a_certificate_of_the_right_authority(scale, start_server, flag):
    server = start_server(*scale, flag(client_verify=True, custom_ca=pem(OURS.cert_pem)))
    assert ask(server.grpc_port, client(OURS.issue_cert("client"))) == [60.0]
    for credentials in (client(), client(OTHERS.issue_cert("client")), None):
        with pytest.raises(grpc.RpcError) as caught:
            ask(server.grpc_port, credentials)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert ask(server.grpc_port, client(OURS.issue_cert("client"))) == [60.0]


def test_clients_certificate_is_not_looked_at_where_none_is_wanted(scale, start_server, flag):
    server = start_server(*scale, flag(custom_ca=pem(OURS.cert_pem)))
    assert ask(server.grpc_port, client(OURS.issue_cert("client"))) == [60.0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"server_key": "/etc/key.pem", "server_cert": "/etc/cert.pem"}, "Failed to BuildAndStart"),
        ({"server_key": key(OTHERS.issue_cert("localhost"))}, "Failed to BuildAndStart"),
        ({"server_key": ""}, "Failed to BuildAndStart"),
        ({"client_verify": True}, "client_verify needs custom_ca"),
    ],
    ids=["paths", "key of another certificate", "no key", "nobody to verify against"],
)
def test_configuration_nobody_could_connect_to_ends_the_start(
    scale, start_server, flag, fields, text
):
    with pytest.raises(StatusError, match=text) as caught:
        start_server(*scale, flag(**fields))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_file_that_is_no_configuration_is_named(scale, start_server, tmp_path):
    path = tmp_path / "ssl.pbtxt"
    path.write_text("no_such_field: 1")
    with pytest.raises(StatusError, match=r"Invalid protobuf file: .*ssl\.pbtxt"):
        start_server(*scale, f"--ssl_config_file={path}")
