"""`RestServer`: `RestApi` on a TCP port, over the standard library's threading HTTP server.

What belongs to HTTP and not to the API is here: gzip, CORS, pages for requests outside the API, and
counting the requests in flight so that a stop can wait for them.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BufferedReader
from socketserver import TCPServer
from typing import Any, cast

import grpc

from serving.access.access_log import Record
from serving.access.gate import Gate
from serving.access.limits import Limits
from serving.addresses import EVERY_ADDRESS, family_of
from serving.rest.api import Answer, RestApi, failure
from serving.rest.http_body import Body, Unreadable
from serving.rest.http_target import Target
from serving.status import StatusError

_API = re.compile(r"/v1/.*", re.IGNORECASE)
# As libevent reads it: one space, and any version before 2.
_REQUEST_LINE = re.compile(
    rb"(?P<request>[^ ]+ [^ ]+) HTTP/(?:(?P<late>0*1\.0*[1-9][0-9]*)|0*[01]\.[0-9]+)\r?\n"
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
CONNECTIONS = 512
"""Open at a time, each with a thread; within the 1,024 files that a process may commonly open."""
SECONDS = 75
"""That a connection may be silent; longer than proxies keep one for the next request."""
UNPACKED = 100 << 20
"""Bytes that a packed body may hold: the stock server's own limit."""
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_STOPPING = StatusError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down.")
_INTERNAL = StatusError(grpc.StatusCode.INTERNAL, "Internal error; the server's log says more.")
_log = logging.getLogger(__name__)


class RestServer:
    """`RestApi` on a TCP port, one thread per connection."""

    def __init__(
        self,
        address: tuple[str, int],
        api: RestApi,
        *,
        cors: bool,
        gate: Gate,
        pages: Mapping[str, Callable[[], str]],
    ) -> None:
        """Binds the port; raises OSError where that fails.

        Args:
            address: host and port; `EVERY_ADDRESS` includes those of IPv6 where there are any.
            api: answers what is below `/v1`.
            cors: whether answers carry CORS headers.
            gate: what requests to the API pass.
            pages: path to plain text, beside the API.
        """
        self._server = _listen(*address)
        self._server.api = api
        self._server.cors = _CORS if cors else {}
        self._server.gate = gate
        self._server.pages = pages
        # A stop waits for one poll, so the default of half a second would be felt.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )

    def start(self) -> None:
        """Starts to accept connections."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Stops accepting, and waits so long at most for the requests in flight."""
        self._server.refuse()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.wait_until_idle(seconds)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # idle keep-alive connections would hold it up for ever
    request_queue_size = 128
    api: RestApi
    cors: dict[str, str]
    gate: Gate
    pages: Mapping[str, Callable[[], str]]

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        self._idle = threading.Condition()
        self._in_flight = 0
        self._connections = 0
        self._stopping = False
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds the socket, and asks nobody for the host's name, which may take seconds."""
        if self.address_family is socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection, and counts it until `shutdown_request`."""
        accepted = super().get_request()
        with self._idle:
            self._connections += 1
        return accepted

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection gets a thread; one too many is told so."""
        if self._connections <= CONNECTIONS:
            return True
        with suppress(OSError):  # it may have gone, and what is raised here ends the server
            request.sendall(_FULL)
        return False

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._idle:
            self._connections -= 1

    def enter(self) -> bool:
        """Counts one more request in flight; False where no more are taken."""
        with self._idle:
            self._in_flight += 1
            return not self._stopping

    def leave(self) -> None:
        with self._idle:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()

    def refuse(self) -> None:
        """From here on, connections that are still open get no more than a refusal."""
        with self._idle:
            self._stopping = True

    def wait_until_idle(self, seconds: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, seconds)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Notes what ended a connection; its client's address is not for the log."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            _log.debug("A client broke its connection off: %s", error.strerror)
        else:
            _log.error("A connection failed", exc_info=error)


def _listen(host: str, port: int) -> _HttpServer:
    if host == EVERY_ADDRESS:
        with suppress(OSError):  # the port is in use, which the next one tells, or there is no IPv6
            return _HttpServer(socket.AF_INET6, ("::", port))
    return _HttpServer(family_of(host), (host, port))


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    raw_requestline: bytes
    headers = HTTPMessage()  # of no request yet
    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # headers and body leave in one packet

    def _handle(self) -> None:
        accepted = self.server.enter()
        try:
            # Not `self.path`: that has lost one of two slashes at the start.
            target = Target.of(self.requestline.split(" ")[1])
            body = Body(self.rfile, self.headers, version=self.request_version)
            self._ask_for(body)
            if not accepted:
                body.discard()
                self._send(failure(_STOPPING), **self.server.cors, Connection="close")
            elif page := self.server.pages.get(target.path):
                self._send(_page(target, page), **_after(body))
            elif not _API.fullmatch(target.path):
                body.discard()
                self.send_error(HTTPStatus.NOT_FOUND)
            elif self.command == "OPTIONS":
                answer = self.server.api.preflight(self.headers.get("Origin", ""))
                self._send(answer, **self.server.cors, **_after(body))
            else:
                self._answer(target, body)
            self.wfile.flush()
        finally:
            self.server.leave()

    def parse_request(self) -> bool:
        """Reads request line and headers by their lines; the version becomes 1.0 or 1.1."""
        self.command = str(self.raw_requestline.partition(b" ")[0], "iso-8859-1")
        found = _REQUEST_LINE.fullmatch(self.raw_requestline)
        if not found:
            raise Unreadable
        self.raw_requestline = found["request"] + (b" HTTP/1.1" if found["late"] else b" HTTP/1.0")
        file = self.rfile
        self.rfile = cast(BufferedIOBase, _HeaderLines(file))
        try:
            return super().parse_request()
        finally:
            self.rfile = file

    def handle_one_request(self) -> None:
        """Answers what can't be read too; the connection can't be used any further then."""
        try:
            super().handle_one_request()
        except Unreadable as error:
            self.send_error(error.status)
            self.wfile.flush()
        except OSError:  # nobody is there to be answered
            raise
        except Exception:
            _log.exception("%s failed", self.command)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _handle

    def _answer(self, target: Target, body: Body) -> None:
        """Answers one call of the API, and writes it into the access log."""
        gate, record = self.server.gate, Record()
        data, headers = b"", {}
        started = time.perf_counter()
        try:
            if gate.tokens:
                gate.tokens.check(self.headers.get("Authorization", ""))
            data = body.read(gate.limits)
            if "gzip" in self.headers.get("Content-Encoding", ""):
                data = _unpacked(data, gate.limits)
            answer = self.server.api.answer(self.command, target.whole, data, record)
        except StatusError as error:
            answer, headers = failure(error), _after(body)
            if error.code is grpc.StatusCode.UNAUTHENTICATED:
                headers["WWW-Authenticate"] = "Bearer"
        except (Unreadable, OSError):
            raise
        except Exception:
            _log.exception("%s %s failed", self.command, target.path)
            answer, headers = failure(_INTERNAL), _after(body)
        self._send(answer, **self.server.cors, **headers)
        if gate.access_log:
            gate.access_log.write(
                record,
                transport="rest",
                code=str(int(answer.status)),
                seconds=time.perf_counter() - started,
                request_bytes=len(data),
                response_bytes=len(answer.body.encode("utf-8", "surrogateescape")),
            )

    def _send(self, answer: Answer, **headers: str) -> None:
        body = answer.body.encode("utf-8", "surrogateescape")
        if self.command == "HEAD":
            body = b""
        if self.headers.get("Connection", "").lower() == "close":
            headers["Connection"] = "close"
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Date", self.date_time_string())
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Failures outside the API: no HTTP, unknown method, unknown path."""
        status = HTTPStatus(code)
        self.request_version = self.protocol_version  # of no HTTP it is 0.9, which has no headers
        self.close_connection = True
        self._send(
            Answer(
                code,
                f"<HTML><HEAD>\n<TITLE>{code} {status.phrase}</TITLE>\n</HEAD><BODY>\n"
                f"<H1>{status.phrase}</H1>\n</BODY></HTML>\n",
                "text/html",
            ),
            Connection="close",
        )

    def handle_expect_100(self) -> bool:
        """Nothing yet: `_ask_for` does it, which knows whether there is a body."""
        return True

    def _ask_for(self, body: Body) -> None:
        """Sends the interim answer to a client that keeps its body back until then."""
        expected = self.headers.get("Expect")
        if expected is None or not body.is_coming or self.request_version < "HTTP/1.1":
            return
        if expected.lower() != "100-continue":
            raise Unreadable(HTTPStatus.EXPECTATION_FAILED)
        self.connection.setblocking(False)
        is_there = cast(BufferedReader, self.rfile).peek(1)
        self.connection.settimeout(self.timeout)
        if not is_there:
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Every request: only at debug level."""
        _log.debug(format, *args)


class _HeaderLines:
    """The lines of a file, of which none may have a carriage return within.

    The parser of headers takes it for the end of a line, where a proxy need not (RFC 9112, section
    2.2).
    """

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file

    def readline(self, size: int) -> bytes:
        line = self._file.readline(size)
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            raise Unreadable
        return line


def _after(body: Body) -> dict[str, str]:
    """Reads what is left of a body; the headers of the answer where it is too long for that."""
    return {} if body.discard() else {"Connection": "close"}


def _unpacked(body: bytes, limits: Limits) -> bytes:
    """The gzip body unpacked, never further than `UNPACKED` or to just over the limit.

    Empty where it is not one gzip stream from end to end, or holds more than that.
    """
    unpacker = zlib.decompressobj(wbits=31)
    most = min(limits.message_bytes + 1, UNPACKED) if limits.message_bytes else UNPACKED
    try:
        text = unpacker.decompress(body, most)
    except zlib.error:
        return b""
    limits.check_bytes(len(text))
    return text if unpacker.eof and not unpacker.unused_data else b""


def _page(target: Target, page: Callable[[], str]) -> Answer:
    if target.whole != target.path:
        text = f"Unexpected path: {target.whole}. Should be {target.path}"
        return Answer(HTTPStatus.BAD_REQUEST, text, "text/plain")
    return Answer(HTTPStatus.OK, page(), "text/plain")
