"""How the console starts."""

import socket
from unittest import mock
from urllib.parse import urlsplit

import pytest

from models.errors import BadInput
from pipeline.console.app import Console
from pipeline.console.server import serve


def test_a_port_that_is_taken_is_bad_input_as_it_is_for_a_model_server():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"Port {port} of 127.0.0.1 can't be had.*--port"):
            serve(mock.Mock(spec=Console), host="127.0.0.1", port=port, say=lambda _: None)


def test_a_body_that_is_too_large_is_refused_before_any_of_it_is_read(place, listening):
    address = urlsplit(listening(place.console(token_file=place.token_file)))
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(
            b"POST /api/promote HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
