"""How much of a body is read, whatever its client says of its size."""

import io
from email.message import Message

import grpc
import pytest

from serving.access.limits import Limits
from serving.rest.http_body import Body
from serving.status import StatusError

MIB = 1 << 20


class Endless(io.RawIOBase):
    """A client that never stops sending.

    Attributes:
        sent: bytes so far.
    """

    def __init__(self, start=b""):
        super().__init__()
        self.start = start
        self.sent = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.start[: len(buffer)] or b"x" * len(buffer)
        self.start = self.start[len(data) :]
        buffer[: len(data)] = data
        self.sent += len(data)
        return len(data)


def headers(**named):
    message = Message()
    for name, value in named.items():
        message[name.replace("_", "-")] = value
    return message


FRAMINGS = {
    "one chunk": (b"FFFFFFFFFFFF\r\n", headers(Transfer_Encoding="chunked")),
    "length": (b"", headers(Content_Length=str(1 << 40))),
}


@pytest.mark.parametrize(("start", "said"), FRAMINGS.values(), ids=FRAMINGS)
def test_a_body_over_the_limit_is_neither_kept_nor_read_to_its_end(start, said):
    client = Endless(start)
    body = Body(io.BufferedReader(client), said, version="HTTP/1.1")
    with pytest.raises(StatusError, match="larger than the 5000 bytes") as caught:
        body.read(Limits(message_bytes=5000))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.sent <= 2 * MIB
    assert not body.discard()
    assert client.sent <= 20 * MIB


@pytest.mark.parametrize(("start", "said"), FRAMINGS.values(), ids=FRAMINGS)
def test_a_body_that_nobody_wants_is_not_read_to_its_end_either(start, said):
    client = Endless(start)
    assert not Body(io.BufferedReader(client), said, version="HTTP/1.1").discard()
    assert client.sent <= 20 * MIB
