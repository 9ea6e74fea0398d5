"""How the console starts."""

import socket
from unittest import mock

import pytest

from models.errors import BadInput
from pipeline.console.app import Console
from pipeline.console.server import serve


def test_a_port_that_is_taken_is_bad_input_as_it_is_for_a_model_server():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"Port {port} of 127.0.0.1 can't be had.*--port"):
            serve(mock.Mock(spec=Console), host="127.0.0.1", port=port, say=lambda _: None)
