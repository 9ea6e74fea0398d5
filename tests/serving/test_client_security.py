"""TLS and bearer tokens, against a real gRPC server with certificates made for the test."""

import grpc
import pytest
import trustme

from models.errors import BadInput, DebutError, Unreachable
from serving.asking.connection import Attempts
from serving.client_credentials import Tls, token_from_file
from serving.ports import free_port
from tests.serving.scripted_server import ScriptedServer, ranking


class Authority:
    """A certificate authority, a server's certificate and a client's."""

    def __init__(self):
        self._ca = trustme.CA()
        self._server = self._ca.issue_cert("localhost")
        self._client = self._ca.issue_cert("shop.example")
        self.ca = self._ca.cert_pem.bytes()

    def server(self, *, wants_certificate=False):
        pair = self._server.private_key_pem.bytes(), self._server.cert_chain_pems[0].bytes()
        ca = self.ca if wants_certificate else None
        return grpc.ssl_server_credentials([pair], ca, wants_certificate)

    def client_pair(self):
        return self._client.cert_chain_pems[0].bytes(), self._client.private_key_pem.bytes()


def tries_again(failure):
    """Whether a client with time left would, after what gRPC said to a call that failed."""
    call = failure.__cause__
    return Attempts(timeout=3600).pause_after(call.code(), call.details()) is not None


@pytest.fixture(scope="module")
def ours():
    return Authority()


@pytest.fixture(scope="module")
def theirs():
    return Authority()


def test_a_server_of_the_trusted_authority_is_asked_over_tls(connect, ours):
    with (
        ScriptedServer(ranking("a"), credentials=ours.server()) as server,
        connect(server.target, tls=Tls(ours.ca)) as client,
    ):
        assert client.recommend(["u"])[0].item_ids == ["a"]


@pytest.mark.parametrize(
    ("authority", "target", "said"),
    [
        ("theirs", "localhost", "is not trusted .* Check the TLS options: --tls-ca names"),
        ("ours", "127.0.0.1", "is one for another name"),
        (None, "localhost", "does not speak TLS. Leave the TLS options out"),
    ],
)
def test_a_handshake_that_can_not_succeed_is_told_and_not_tried_again(
    connect, request, authority, target, said
):
    credentials = request.getfixturevalue(authority).server() if authority else None
    tls = Tls(request.getfixturevalue("ours").ca)
    with ScriptedServer(ranking("a"), credentials=credentials) as server:
        there = server.target.replace("localhost", target)
        with (
            connect(there, timeout=5, tls=tls) as client,
            pytest.raises(Unreachable, match=said) as caught,
        ):
            client.recommend(["u"])
        assert server.calls == 0
    assert not tries_again(caught.value)


def test_a_server_that_is_not_there_yet_is_tried_again_over_tls(connect, ours):
    with (
        connect(f"localhost:{free_port()}", timeout=0.2, tls=Tls(ours.ca)) as client,
        pytest.raises(Unreachable, match="No model server answers") as caught,
    ):
        client.recommend(["u"])
    assert tries_again(caught.value)


def test_a_server_with_tls_does_not_answer_in_plain_text(connect, ours):
    with (
        ScriptedServer(ranking("a"), credentials=ours.server()) as server,
        connect(server.target, timeout=2) as client,
    ):
        with pytest.raises(Unreachable):
            client.recommend(["u"])
        assert server.calls == 0


def test_a_server_that_asks_for_certificates_answers_only_to_its_own_authority_s(
    connect, ours, theirs
):
    credentials = ours.server(wants_certificate=True)
    with ScriptedServer(ranking("a"), credentials=credentials) as server:
        for refused in (Tls(ours.ca), Tls(ours.ca, *theirs.client_pair())):
            with (
                connect(server.target, timeout=2, tls=refused) as client,
                pytest.raises(Unreachable),
            ):
                client.recommend(["u"])
        assert server.calls == 0
        with connect(server.target, tls=Tls(ours.ca, *ours.client_pair())) as client:
            assert client.recommend(["u"])[0].item_ids == ["a"]


def test_tls_is_read_from_files(ours, tmp_path):
    certificate, key = ours.client_pair()
    files = {"ca.pem": ours.ca, "client.pem": certificate, "client.key": key}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    tls = Tls.from_files(*(tmp_path / name for name in files))
    assert tls == Tls(ours.ca, certificate, key)
    assert "PRIVATE KEY" not in repr(tls)


def test_files_that_are_not_there_and_half_a_pair_are_bad_input(tmp_path, ours):
    with pytest.raises(BadInput, match=r"absent\.pem can't be read: No such file"):
        Tls.from_files(tmp_path / "absent.pem")
    with pytest.raises(BadInput, match="only go together"):
        Tls(ours.ca, certificate=b"x")


def test_the_token_travels_as_a_bearer_token_with_every_call_over_tls(connect, ours):
    with (
        ScriptedServer(ranking("a"), ranking("a"), credentials=ours.server()) as server,
        connect(server.target, tls=Tls(ours.ca), token="s3cret") as client,
    ):
        client.recommend(["u"])
        client.within(5).recommend(["u"])
        assert [call["authorization"] for call in server.metadata] == ["Bearer s3cret"] * 2


def test_no_token_no_authorization(connect):
    with ScriptedServer(ranking("a")) as server, connect(server.target) as client:
        client.recommend(["u"])
        assert "authorization" not in server.metadata[0]


def test_without_tls_a_token_goes_to_this_machine_and_only_where_that_was_allowed(connect):
    with ScriptedServer(ranking("a")) as server:
        with pytest.raises(BadInput, match="unencrypted") as caught:
            connect(server.target, token="s3cret")
        assert "s3cret" not in str(caught.value)
        with connect(server.target, token="s3cret", allow_plain_token=True) as client:
            client.recommend(["u"])
        assert server.metadata[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "target", ["shop.example:8500", "10.0.0.1:8500", "localhost.shop.example:1", "dns:///x:1"]
)
def test_no_other_machine_gets_a_plain_token_even_where_allowed(connect, target):
    with pytest.raises(BadInput, match="unencrypted"):
        connect(target, token="s3cret", allow_plain_token=True)


@pytest.mark.parametrize("target", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/a.sock"])
def test_this_machine_has_several_names(connect, target):
    with connect(target, token="s3cret", allow_plain_token=True):
        pass


def test_a_refused_token_names_the_remedy(connect, ours):
    with (
        ScriptedServer(grpc.StatusCode.UNAUTHENTICATED, credentials=ours.server()) as server,
        connect(server.target, tls=Tls(ours.ca), token="old", fallback=["a"]) as client,
        pytest.raises(DebutError, match=r"does not know who asks \(as told\)"),
    ):
        client.recommend(["u"])


def test_a_token_file_holds_one_word(tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    assert token_from_file(file) == "s3cret"
    for wrong in ("", " \n", "two words", "schlüssel", "two\nlines"):
        file.write_text(wrong)
        with pytest.raises(BadInput, match="not one word"):
            token_from_file(file)
    with pytest.raises(BadInput, match="can't be read"):
        token_from_file(tmp_path / "absent")
