"""`StatusError`: an RPC that failed, as a canonical code and the exact text a client reads.

Every layer below the wire raises it; the gRPC and REST front ends are the only places that turn it
into an answer. The text is part of the wire (clients match on it), so it is never decorated.
"""

from __future__ import annotations

import errno
import os
from typing import Any

import grpc

GRPC_MESSAGE_LIMIT = 1024
"""Bytes of an error text that gRPC carries. The stock server cuts there; in REST it does not."""

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
# As TensorFlow reads an error number; of the others none is met where a file is opened or read.
_BY_ERRNO = {
    errno.ENOENT: grpc.StatusCode.NOT_FOUND,
    errno.ENODEV: grpc.StatusCode.NOT_FOUND,
    errno.EACCES: grpc.StatusCode.PERMISSION_DENIED,
    errno.EPERM: grpc.StatusCode.PERMISSION_DENIED,
    errno.EISDIR: grpc.StatusCode.FAILED_PRECONDITION,
    errno.ENOTDIR: grpc.StatusCode.FAILED_PRECONDITION,
    errno.ENAMETOOLONG: grpc.StatusCode.INVALID_ARGUMENT,
}


class StatusError(Exception):
    """A request or a load that failed.

    Attributes:
        code: canonical code, never OK.
        message: text for the client, uncut.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Keeps code and message as given."""
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """`CODE: message`, the form in which one status is quoted inside another."""
        return f"{self.code.name}: {self.message}"

    @property
    def number(self) -> int:
        """The canonical code as an integer, as `StatusProto.error_code` holds it."""
        number: int = self.code.value[0]
        return number

    @classmethod
    def from_tensorflow(cls, error: Any) -> StatusError:
        """Takes over code and text of a `tf.errors.OpError`."""
        return cls(_BY_NUMBER[error.error_code], error.message)

    @classmethod
    def from_errno(cls, path: str, number: int | None) -> StatusError:
        """What TensorFlow says of a file that it could not open or read."""
        code = _BY_ERRNO.get(number or 0, grpc.StatusCode.UNKNOWN)
        return cls(code, f"{path}; {os.strerror(number or 0)}")


def invalid_argument(message: str) -> StatusError:
    """Shorthand for the code that most refusals carry."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Shorthand for NOT_FOUND."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def cut_for_grpc(message: str) -> str:
    """The text as gRPC carries it: at most `GRPC_MESSAGE_LIMIT` bytes, then `...TRUNCATED`."""
    text = message.encode("utf-8", "replace")
    if len(text) <= GRPC_MESSAGE_LIMIT:
        return text.decode()
    return text[:GRPC_MESSAGE_LIMIT].decode("utf-8", "ignore") + "...TRUNCATED"
