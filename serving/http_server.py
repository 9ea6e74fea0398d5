"""`RestServer`: `RestApi` on a TCP port, over the standard library's threading HTTP server.

What belongs to HTTP and not to the API is here: bodies (chunked, gzip), CORS, pages for requests
outside the API, and counting the requests in flight so that a stop can wait for them.
"""

from __future__ import annotations

import logging
import re
import threading
import urllib.parse
import zlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.rest import Answer, RestApi

_API = re.compile(r"/v1/.*", re.IGNORECASE)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_log = logging.getLogger(__name__)


class RestServer:
    """`RestApi` on a TCP port, one thread per connection."""

    def __init__(self, address: tuple[str, int], api: RestApi, *, cors: bool) -> None:
        """Binds the port; raises OSError where that fails."""
        self._server = _HttpServer(address, _Handler)
        self._server.api = api
        self._server.cors = _CORS if cors else {}
        # A stop waits for one poll, so the default of half a second would be felt.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True
        )

    def start(self) -> None:
        """Starts to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Stops accepting, and waits for the requests in flight."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.wait_until_idle()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # idle keep-alive connections would hold it up for ever
    request_queue_size = 128
    api: RestApi
    cors: dict[str, str]

    def __init__(self, *arguments: Any) -> None:
        self._idle = threading.Condition()
        self._in_flight = 0
        super().__init__(*arguments)

    def count(self, change: int) -> None:
        with self._idle:
            self._in_flight += change
            if self._in_flight == 0:
                self._idle.notify_all()

    def wait_until_idle(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # headers and body leave in one packet

    def _handle(self) -> None:
        self.server.count(1)
        try:
            body = self._body()
            path = _path(self.path)
            if not _API.fullmatch(path):
                self.send_error(HTTPStatus.NOT_FOUND)
            elif self.command == "OPTIONS":
                origin = re.match("https?://", self.headers.get("Origin", ""))
                self._send(Answer(200 if origin else 400, "", "text/html; charset=ISO-8859-1"))
            else:
                self._send(self.server.api.answer(self.command, path, body))
            self.wfile.flush()
        finally:
            self.server.count(-1)

    def handle_one_request(self) -> None:
        """Answers what can't be read too; the connection can't be used any further then."""
        try:
            super().handle_one_request()
        except _Unreadable:
            self.send_error(HTTPStatus.BAD_REQUEST)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self._chunks()
        else:
            length = self.headers.get("Content-Length", "0")
            body = self.rfile.read(int(length)) if length.isdecimal() else b""
        if self.headers.get("Content-Encoding", "").lower() == "gzip":
            try:
                body = zlib.decompress(body, wbits=31)
            except zlib.error:
                return b""
        return body

    def _chunks(self) -> bytes:
        chunks = []
        while size := _chunk_size(self.rfile.readline()):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _send(self, answer: Answer, **headers: str) -> None:
        body = answer.body.encode("utf-8", "surrogateescape")
        if self.command == "HEAD":
            body = b""
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in (self.server.cors | headers).items():
            self.send_header(name, value)
        self.send_header("Date", self.date_time_string())
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
        """Sends the interim answer at once, not with the final one."""
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def log_message(self, format: str, *args: Any) -> None:
        """Every request: only at debug level."""
        _log.debug(format, *args)


class _Unreadable(Exception):
    """A request whose end, or whose target, can't be told."""


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";")[0].strip()
    if not _CHUNK_SIZE.fullmatch(digits):
        raise _Unreadable
    return int(digits, 16)


def _path(target: str) -> str:
    """The path of a request target, still percent-encoded, without host and query."""
    try:
        return urllib.parse.urlsplit(target).path
    except ValueError as error:  # brackets that hold no address
        raise _Unreadable from error
