"""`Body`: the body of an HTTP/1.1 request, read to where it ends and no further than is taken.

Where server and proxy disagree on a body's end, its rest becomes a request that nobody sent. So
what leaves the end in doubt is `Unreadable` (RFC 9112, section 6.3), and the connection closes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase

from serving.access.limits import Limits

_PIECE = 1 << 20
_DISCARDED = 1 << 24
_LINE = 1 << 13
_TRAILER_LINES = 100
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r\n")
# After such a line the parser takes the further headers, a length perhaps, for a body.
_BROKEN_HEADERS = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)


class Unreadable(Exception):
    """A request whose end, or whose target, can't be told.

    Attributes:
        status: to answer with before the connection is closed.
    """

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        """Keeps the status."""
        super().__init__(status.phrase)
        self.status = status


class Body:
    """The body of one request, in pieces of 1 MiB at most whatever the client says of its size.

    Attributes:
        is_coming: whether the headers say that there is one.
    """

    def __init__(self, file: BufferedIOBase, headers: Message, *, version: str) -> None:
        """Reads nothing yet.

        Args:
            file: the connection, after the headers.
            headers: of the request.
            version: of the protocol, such as `HTTP/1.1`.

        Raises:
            Unreadable: the headers leave in doubt where the body ends.
        """
        length = _length(headers, version)
        self.is_coming = length != 0
        self._pieces = _chunks(file) if length is None else _counted(file, length)

    def read(self, limits: Limits) -> bytes:
        """All of it; raises `StatusError` for too much of it, `Unreadable` where it breaks off."""
        kept = bytearray()
        for piece in self._pieces:
            limits.check_bytes(len(kept) + len(piece))
            kept += piece
        return bytes(kept)

    def discard(self) -> bool:
        """Reads what is left, 16 MiB at most; whether that was all.

        A connection that is closed over unread bytes may take the answer with it.
        """
        left = _DISCARDED
        for piece in self._pieces:
            left -= len(piece)
            if left < 0:
                return False
        return True


def _length(headers: Message, version: str) -> int | None:
    """Bytes of the body; None where it comes in chunks."""
    if any(isinstance(defect, _BROKEN_HEADERS) for defect in headers.defects):
        raise Unreadable
    lengths = {value.strip() for value in headers.get_all("Content-Length", ())}
    codings = headers.get_all("Transfer-Encoding")
    if codings is not None:
        if lengths or version == "HTTP/1.0":
            raise Unreadable
        if [coding.strip().lower() for coding in codings] != ["chunked"]:
            raise Unreadable(HTTPStatus.NOT_IMPLEMENTED)
        return None
    if not lengths:
        return 0
    [length, *others] = lengths
    if others or not _LENGTH.fullmatch(length):
        raise Unreadable
    return int(length)


def _counted(file: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:
            raise Unreadable
        length -= len(piece)
        yield piece


def _chunks(file: BufferedIOBase) -> Iterator[bytes]:
    while size := _chunk_size(file.readline(_LINE)):
        yield from _counted(file, size)
        if file.readline(_LINE) != b"\r\n":
            raise Unreadable
    for _ in range(_TRAILER_LINES):
        line = file.readline(_LINE)
        if line == b"\r\n":
            return
        if not line.endswith(b"\r\n"):
            raise Unreadable
    raise Unreadable


def _chunk_size(line: bytes) -> int:
    found = _CHUNK.fullmatch(line)
    if not found:
        raise Unreadable
    return int(found[1], 16)
