"""HTTP underneath REST, byte by byte: what a client's library may do that `requests` does not."""

import errno
import gzip
import json
import logging
import re
import socket
import struct
import time
from typing import Any

import pytest

from serving.access.access_log import AccessLog
from serving.access.gate import Gate
from serving.access.limits import Limits
from serving.addresses import EVERY_ADDRESS
from serving.ports import free_port
from serving.rest import http_server
from serving.rest.http_server import RestServer

BODY = b'{"instances":[1.0]}'
ANSWER = b'{\n    "predictions": [30.0\n    ]\n}'
POST = b"POST /v1/models/scale:predict HTTP/1.1\r\nHost: x\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
GET = b"GET /v1/models/%s HTTP/1.1\r\nHost: x\r\n\r\n"


def read_answer(file):
    """Status, headers and body of one answer."""
    status = int(file.readline().split()[1])
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name] = value
    return status, headers, file.read(int(headers.get("Content-Length", 0)))


@pytest.fixture
def connect(suite):
    """Sends bytes on a connection of their own, and gives the file to read answers from."""
    open_files = []

    def send(data):
        with socket.create_connection(("127.0.0.1", suite.rest_port), timeout=20) as raw:
            raw.sendall(data)
            file = raw.makefile("rb")
        open_files.append(file)
        return file

    yield send
    for file in open_files:
        file.close()


@pytest.fixture
def still_answers(connect):
    yield
    assert read_answer(connect(POST + LENGTH + b"\r\n" + BODY))[2] == ANSWER


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + LENGTH + b"\r\n" + BODY,
        POST.replace(b"Host: x\r\n", b"") + LENGTH + b"\r\n" + BODY,
        POST
        + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"in\r\nf;a=b\r\nstances":[1.0]}\r\n0\r\n\r\n',
        POST.replace(b"HTTP/1.1", b"HTTP/1.0") + LENGTH + b"\r\n" + BODY,
        POST.replace(b"HTTP/1.1", b"HTTP/0.9") + LENGTH + b"\r\n" + BODY,
        POST.replace(b"HTTP/1.1", b"HTTP/01.010") + LENGTH + b"\r\n" + BODY,
        POST.replace(b" /v1", b" http://x/v1") + LENGTH + b"\r\n" + BODY,
    ],
    ids=["whole", "no host", "chunked", "HTTP/1.0", "HTTP/0.9", "HTTP/01.010", "absolute URI"],
)
def test_same_request_in_any_form_gets_the_same_answer(connect, request_bytes):
    status, headers, body = read_answer(connect(request_bytes))
    assert (status, headers["Content-Type"], body) == (200, "application/json", ANSWER)


def test_two_slashes_begin_a_host_as_they_do_for_libevent(connect):
    status, _, body = read_answer(connect(GET.replace(b"/v1", b"//v1") % b"scale"))
    assert (status, body[:14]) == (404, b"<HTML><HEAD>\n<")


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip, identity", b"deflate", b"GZIP"])
def test_a_body_is_unpacked_where_its_encoding_names_gzip_in_small_letters(connect, encoding):
    packed = gzip.compress(BODY)
    headers = b"Content-Length: %d\r\nContent-Encoding: %s\r\n\r\n" % (len(packed), encoding)
    status, _, body = read_answer(connect(POST + headers + packed))
    if b"gzip" in encoding:
        assert (status, body) == (200, ANSWER)
    else:
        assert (status, body[:30]) == (400, b'{\n    "error": "JSON Parse err')


PACKED = gzip.compress(BODY)


@pytest.mark.parametrize(
    ("packed", "most", "is_read"),
    [
        (PACKED, len(BODY), True),
        (PACKED, len(BODY) - 1, False),
        (PACKED + gzip.compress(b""), 100, False),
        (PACKED + b"\0", 100, False),
        (PACKED[:-1], 100, False),
        (b"zzzz", 100, False),
    ],
    ids=["most", "too much", "two members", "a byte more", "a byte less", "no gzip"],
)
def test_a_packed_body_is_one_gzip_stream_of_limited_size_or_empty(
    connect, monkeypatch, packed, most, is_read
):
    monkeypatch.setattr(http_server, "UNPACKED", most)
    headers = b"Content-Length: %d\r\nContent-Encoding: gzip\r\n\r\n" % len(packed)
    empty = b'{\n    "error": "JSON Parse error: The document is empty"\n}'
    expected = (200, ANSWER) if is_read else (400, empty)
    assert read_answer(connect(POST + headers + packed))[::2] == expected


EXPECT = POST + LENGTH + b"Expect: 100-Continue\r\n\r\n"


def test_client_that_waits_to_be_asked_for_its_body_is_asked(suite):
    with (
        socket.create_connection(("127.0.0.1", suite.rest_port), timeout=20) as raw,
        raw.makefile("rb") as file,
    ):
        for _ in range(2):
            raw.sendall(EXPECT)
            assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert file.readline() == b"\r\n"
            raw.sendall(BODY)
            assert read_answer(file)[2] == ANSWER


@pytest.mark.parametrize(
    "request_bytes",
    [
        EXPECT + BODY,
        EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0") + BODY,
        EXPECT.replace(b"100-Continue", b"nothing").replace(b"HTTP/1.1", b"HTTP/1.0") + BODY,
    ],
    ids=["body is there", "HTTP/1.0", "nothing of HTTP/1.0"],
)
def test_client_that_does_not_wait_is_not_asked(connect, request_bytes):
    """Recorded as `http.expect`."""
    assert read_answer(connect(request_bytes))[2] == ANSWER


def test_expectation_without_a_body_is_none(connect):
    assert read_answer(connect(POST + b"Expect: nothing\r\n\r\n"))[0] == 400
    assert read_answer(connect(GET.replace(b"\r\n\r", b"\r\nExpect: 1\r\n\r") % b"scale"))[0] == 200


@pytest.mark.parametrize("value", [b"close", b"Close"])
@pytest.mark.parametrize("path", [b"/v1/models/scale", b"/v1/models/absent", b"/elsewhere"])
def test_a_client_that_is_to_close_is_told_that_the_server_does(connect, path, value):
    file = connect(b"GET " + path + b" HTTP/1.1\r\nConnection: " + value + b"\r\n\r\n")
    assert read_answer(file)[1]["Connection"] == "close"
    assert file.read() == b""


def test_the_answer_to_head_has_neither_length_nor_body(connect):
    """Recorded as `rest.head`."""
    file = connect(GET.replace(b"GET", b"HEAD") % b"scale" + GET % b"scale")
    status, headers, _ = read_answer(file)
    assert (status, headers.keys()) == (400, {"Content-Type", "Date"})
    assert read_answer(file)[0] == 200


def test_requests_sent_at_once_are_answered_in_turn(connect):
    file = connect(GET % b"scale" + GET % b"absent")
    assert read_answer(file)[0] == 200
    assert read_answer(file)[0] == 404


def test_body_without_a_length_is_empty_and_the_connection_stays(connect):
    file = connect(POST + b"\r\n" + GET % b"scale")
    status, _, body = read_answer(file)
    assert (status, body) == (400, b'{\n    "error": "JSON Parse error: The document is empty"\n}')
    assert read_answer(file)[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\r\n" + GET % b"scale", 400),
        (b"GET /v1/models/scale\r\n\r\n", 400),
        (b"GET  /v1/models/scale HTTP/1.1\r\n\r\n", 400),
        (b"GET\t/v1/models/scale\tHTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/models/scale HTTP/1.1 \r\n\r\n", 400),
        (b"GET /v1/models/scale HTTP/2.0\r\n\r\n", 400),
        (b"GET /v1/models/scale HTTP/1.1x\r\n\r\n", 400),
        (GET % b"scale\xa0", 400),
        (EXPECT.replace(b"100-Continue", b"nothing") + BODY, 417),
        (b"FOO /v1/models/scale HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 9000, 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]x\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200, 400),
        (b"GET http://[::1/v1/models/scale HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (GET.replace(b"\r\n\r\n", b"\r\n" + 99 * b"A: b\r\n" + b"\r\n") % b"scale", 431),
        (GET % (b"a" * 65536), 414),
        (GET % b"scale|", 400),
        (GET % b"scale%zz", 400),
    ],
    ids=[
        "no HTTP",
        "empty line",
        "no version",
        "two spaces",
        "tabs",
        "space at the end",
        "HTTP/2.0",
        "no number",
        "no-break space",
        "unknown expectation",
        "unknown method",
        "chunk without size",
        "chunk below zero",
        "chunk size without end",
        "chunk longer than its size",
        "too many trailers",
        "no host",
        "too many headers",
        "too long a line",
        "no character of a URI",
        "no percent-encoding",
    ],
)
def test_what_can_not_be_read_gets_a_page_and_a_closed_connection(
    connect, still_answers, request_bytes, status
):
    file = connect(request_bytes)
    got, headers, body = read_answer(file)
    assert (got, headers["Connection"], headers["Content-Type"]) == (status, "close", "text/html")
    assert re.match(rb"<HTML><HEAD>\n<TITLE>%d " % status, body)
    assert file.read() == b""


CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Transfer-Encoding: identity, chunked\r\n", 501),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"Transfer-Encoding: identity\r\n" + CHUNKED, 501),
        (CHUNKED + CHUNKED, 501),
        (CHUNKED + b"Content-Length: 0\r\n", 400),
        (b"Content-Length: +44\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length: 4, 4\r\n", 400),
        (b"Content-Length: 0\r\nContent-Length: 44\r\n", 400),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", 400),
        (b"Content-Length : 44\r\n", 400),
        (b"no header\r\nContent-Length: 44\r\n", 400),
        (b"A: b\rContent-Length: 44\r\n", 400),
        (b"Content-Length: 44\r\r\n", 400),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/models/scale:predict", b"/elsewhere"])
def test_no_second_request_is_read_out_of_a_body_whose_end_is_in_doubt(
    connect, still_answers, path, headers, status
):
    smuggled = GET % b"scale"
    file = connect(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + smuggled)
    got, answered, _ = read_answer(file)
    assert (got, answered["Connection"]) == (status, "close")
    assert file.read() == b""


def test_chunks_of_an_old_protocol_are_refused(connect):
    old = POST.replace(b"HTTP/1.1", b"HTTP/1.0\r\nConnection: keep-alive")
    file = connect(old + CHUNKED + b"\r\n0\r\n\r\n" + GET % b"scale")
    assert read_answer(file)[0] == 400
    assert file.read() == b""


def test_a_length_that_is_said_twice_alike_is_a_length(connect):
    assert read_answer(connect(POST + LENGTH + LENGTH + b"\r\n" + BODY))[2] == ANSWER


@pytest.mark.parametrize("framing", [CHUNKED + b"\r\nFFFFFFFFFF\r\nabc", LENGTH + b"\r\nabc"])
def test_a_body_that_breaks_off_is_no_request(suite, still_answers, framing):
    with socket.create_connection(("127.0.0.1", suite.rest_port), timeout=20) as raw:
        raw.sendall(POST + framing)
        raw.shutdown(socket.SHUT_WR)
        with raw.makefile("rb") as file:
            assert read_answer(file)[0] == 400


def test_a_version_of_thousands_of_digits_is_refused_as_any_beyond_64_bits(connect):
    """Recorded as `rest.version_huge`: a bad request without a body."""
    for zeros, digits, status in ((0, b"9" * 5000, 400), (5000, b"2", 200), (0, b"9" * 19, 400)):
        path = b"scale/versions/" + b"0" * zeros + digits
        got, _, body = read_answer(connect(GET % path))
        assert got == status
        assert bool(body) is (status == 200)


class Failing:
    """In place of a `RestApi` and of a registry: everything fails as nobody expects."""

    def answer(self, *_):
        raise ZeroDivisionError

    def page(self):
        raise ZeroDivisionError


@pytest.fixture
def failing(tmp_path):
    """Where a server listens whose API and whose page `/page` fail, and its access log."""
    log = tmp_path / "access.jsonl"
    failing: Any = Failing()
    gate = Gate(limits=Limits(), access_log=AccessLog(str(log), failing))
    address = "127.0.0.1", free_port()
    server = RestServer(address, failing, cors=False, gate=gate, pages={"/page": failing.page})
    server.start()
    yield address, log
    server.stop(5)


def test_a_failure_that_nobody_expects_is_answered_and_logged_as_over_grpc(failing, caplog):
    address, log = failing
    with socket.create_connection(address, timeout=20) as raw, raw.makefile("rb") as file:
        raw.sendall(2 * (POST + LENGTH + b"\r\n" + BODY))
        for _ in range(2):  # the connection goes on
            status, _, body = read_answer(file)
            assert status == 500
            text = "Internal error; the server's log says more."
            assert json.loads(body) == {"error": text}
        raw.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(file)[0] == 500
        assert file.read() == b""
    assert [json.loads(line)["code"] for line in log.read_text().splitlines()] == ["500"] * 2
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 3


def test_every_address_is_that_of_ipv4_where_there_is_no_ipv6(monkeypatch):
    made = socket.socket

    def no_ipv6(family=socket.AF_INET, *arguments):
        if family is socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *arguments)

    monkeypatch.setattr("socketserver.socket.socket", no_ipv6)
    failing: Any = Failing()
    port = free_port()
    gate = Gate(limits=Limits())
    server = RestServer((EVERY_ADDRESS, port), failing, cors=False, gate=gate, pages={})
    monkeypatch.undo()
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            raw.sendall(GET % b"scale")
            assert read_answer(raw.makefile("rb"))[0] == 500
    finally:
        server.stop(5)


def test_a_client_that_breaks_off_leaves_no_trace_of_its_address(failing, caplog, capfd):
    caplog.set_level(logging.DEBUG, "serving.rest.http_server")
    address, _ = failing
    with socket.create_connection(address, timeout=20) as raw:
        raw.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(2000):
        if "broke its connection off" in caplog.text:
            break
        time.sleep(0.01)
    assert "broke its connection off" in caplog.text
    assert "127.0.0.1" not in caplog.text + "".join(capfd.readouterr())


def test_a_connection_that_stays_silent_is_closed(failing, monkeypatch):
    monkeypatch.setattr(http_server._Handler, "timeout", 0.1)
    address, _ = failing
    for sent in (b"", POST, POST + LENGTH + b"\r\n{"):
        with socket.create_connection(address, timeout=20) as raw:
            raw.sendall(sent)
            assert raw.recv(1) == b""


def test_connections_beyond_the_most_are_told_so_and_get_in_when_others_have_gone(
    failing, monkeypatch
):
    monkeypatch.setattr(http_server, "CONNECTIONS", 2)
    address, _ = failing

    def ask():
        with socket.create_connection(address, timeout=20) as raw, raw.makefile("rb") as file:
            raw.sendall(GET % b"scale")
            return read_answer(file)[0]

    with (
        socket.create_connection(address, timeout=20),
        socket.create_connection(address, timeout=20) as second,
    ):
        with socket.create_connection(address, timeout=20) as third, third.makefile("rb") as file:
            status, headers, _ = read_answer(file)
            assert (status, headers["Connection"]) == (503, "close")
        second.close()
        while (status := ask()) == 503:  # until the server has seen it
            time.sleep(0.01)
        assert status == 500  # what it answers here to everything
