"""`debut recommend` and `debut score` against a server that wants TLS, certificates and a token."""

import json

import grpc
import pytest
import trustme
from click.testing import CliRunner

from pipeline.cli import main
from serving.client import Client
from tests.serving.scripted_server import ScriptedServer, ranking


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with ca.pem, client.pem, client.key and token; and the server's credentials."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    client, server = ca.issue_cert("client"), ca.issue_cert("localhost")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    (folder / "token").write_text("s3cret\n")
    pair = server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes()
    return folder, grpc.ssl_server_credentials([pair], ca.cert_pem.bytes(), True)


def recommend(target, *options):
    words = ["recommend", "--user", "u", "--json", "--target", target, *map(str, options)]
    return CliRunner().invoke(main, words)


def test_certificates_and_token_of_the_options_reach_the_server(files):
    folder, credentials = files
    with ScriptedServer(ranking("a"), credentials=credentials) as server:
        result = recommend(
            server.target,
            *("--tls-ca", folder / "ca.pem"),
            *("--tls-cert", folder / "client.pem"),
            *("--tls-key", folder / "client.key"),
            *("--token-file", folder / "token"),
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["items"] == [{"item_id": "a", "score": 1.0}]
        assert server.metadata[0]["authorization"] == "Bearer s3cret"


def test_json_has_the_propensity_of_each_item_where_the_model_says_it():
    with ScriptedServer(ranking("a", "b", propensities=(1.0, 0.25))) as server:
        result = recommend(server.target)
        assert json.loads(result.stdout)["items"] == [
            {"item_id": "a", "score": 1.0, "propensity": 1.0},
            {"item_id": "b", "score": 2.0, "propensity": 0.25},
        ]


def test_without_the_certificate_no_server_answers(files, monkeypatch):
    # A server that may come up yet looks the same, so it is asked until the time is over.
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "timeout", 1.0)
    folder, credentials = files
    with ScriptedServer(ranking("a"), credentials=credentials) as server:
        result = recommend(server.target, "--tls-ca", folder / "ca.pem")
        assert result.exit_code == 4
        assert "check the TLS options" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--token-file", "token"), "--tls-ca"),
        (("--tls-ca", "absent.pem"), "absent.pem can't be read"),
        (("--tls-ca", "ca.pem", "--tls-cert", "client.pem"), "only go together"),
    ],
)
def test_what_can_t_be_used_ends_with_2_before_anything_is_sent(files, options, said):
    words = [word if word.startswith("--") else files[0] / word for word in options]
    result = recommend("localhost:1", *words)
    assert result.exit_code == 2
    assert said in result.stderr
