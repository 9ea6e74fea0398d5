"""gRPC over TLS: who gets in, and which files end the start."""

import threading

import grpc
import pytest
import requests
import trustme
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import flags
from serving.config.messages import SSLConfig
from serving.ports import free_port
from serving.server import ModelServer
from serving.status import StatusError
from tests.serving.saved_models import float_request

NOT_BUILT = "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"


def pem(certificate):
    """Private key and certificate chain as PEM text."""
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return certificate.private_key_pem.bytes().decode(), chain.decode()


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def identity(ca):
    return pem(ca.issue_cert("localhost", "127.0.0.1"))


@pytest.fixture
def write(tmp_path):
    def config_flag(**fields):
        path = tmp_path / "ssl.txt"
        path.write_text(text_format.MessageToString(SSLConfig(**fields)))
        return f"--ssl_config_file={path}"

    return config_flag


def factor(port, ca=None, client=None):
    """The answer of a server of `scale` to x = 1, over a channel of its own."""
    target = f"localhost:{port}"
    if ca is None:
        channel = grpc.insecure_channel(target)
    else:
        key, chain = pem(client) if client else (None, None)
        channel = grpc.secure_channel(
            target,
            grpc.ssl_channel_credentials(
                ca.cert_pem.bytes(), key and key.encode(), chain and chain.encode()
            ),
        )
    with channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(float_request([1.0], model="default"), timeout=20)
        return list(answer.outputs["y"].float_val)


def refused(port, ca=None, client=None):
    with pytest.raises(grpc.RpcError) as caught:
        factor(port, ca, client)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_lets_in_only_clients_with_a_certificate_of_the_ca(
    start_server, models, ca, identity, write
):
    key, cert = identity
    config = write(
        server_key=key,
        server_cert=cert,
        custom_ca=ca.cert_pem.bytes().decode(),
        client_verify=True,
    )
    server = start_server(f"--model_base_path={models / 'scale'}", config)
    port = server.grpc_port
    assert factor(port, ca, ca.issue_cert("client.example")) == [30.0]
    assert refused(port, ca)
    assert refused(port, ca, trustme.CA().issue_cert("client.example"))
    assert refused(port)
    # As with the stock server, TLS is for gRPC only.
    assert requests.get(
        f"http://127.0.0.1:{server.rest_port}/v1/models/default", timeout=20
    ).json()["model_version_status"]


def test_tls_without_client_verify_needs_no_client_certificate(
    start_server, models, ca, identity, write
):
    key, cert = identity
    server = start_server(
        f"--model_base_path={models / 'scale'}", write(server_key=key, server_cert=cert)
    )
    assert factor(server.grpc_port, ca) == [30.0]
    assert factor(server.grpc_port, ca, ca.issue_cert("client.example")) == [30.0]
    assert refused(server.grpc_port)
    assert refused(server.grpc_port, trustme.CA())  # the client does not trust the server


def test_client_verify_without_a_ca_lets_nobody_in(start_server, models, ca, identity, write):
    key, cert = identity
    config = write(server_key=key, server_cert=cert, client_verify=True)
    server = start_server(f"--model_base_path={models / 'scale'}", config)
    assert refused(server.grpc_port, ca, ca.issue_cert("client.example"))


def refusal(models, config):
    parsed = flags.parse(
        [
            f"--port={free_port()}",
            "--bind_address=127.0.0.1",
            f"--model_base_path={models / 'scale'}",
            config,
        ]
    )
    server = None
    with pytest.raises(StatusError) as caught:
        server = ModelServer(parsed, threading.Event())
        server.start()
    if server is not None:
        server.drain()
    return str(caught.value)


def test_pem_that_is_no_good_ends_the_start(models, ca, identity, write):
    _, cert = identity
    other_key, _ = pem(ca.issue_cert("localhost"))
    assert refusal(models, write(server_key="/k.pem", server_cert="/c.pem")) == NOT_BUILT
    assert refusal(models, write(server_key=other_key, server_cert=cert)) == NOT_BUILT
    assert refusal(models, write(server_cert=cert)) == NOT_BUILT


def test_config_file_that_can_not_be_used_ends_the_start(models, tmp_path):
    path = tmp_path / "ssl.txt"
    flag = f"--ssl_config_file={path}"
    assert refusal(models, flag) == f"NOT_FOUND: {path}; No such file or directory"
    path.write_text("")
    assert refusal(models, flag) == f"INVALID_ARGUMENT: {path}; Invalid argument"
    path.write_text('server_kee: "x"')
    assert refusal(models, flag).startswith(f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'")
