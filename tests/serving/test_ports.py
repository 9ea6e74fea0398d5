"""A port that was handed out stays its taker's until a server opens it."""

import errno
import socket
from concurrent import futures

import grpc
import pytest

from serving.ports import free_port


def test_port_is_refused_to_others_and_to_clients():
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match=r".") as refused:
        other.bind(("127.0.0.1", port))
    assert refused.value.errno == errno.EADDRINUSE
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_no_port_is_handed_out_twice():
    ports = [free_port() for _ in range(100)]
    assert len(set(ports)) == 100


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_grpc_server_opens_it(host):
    port = free_port()
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    try:
        assert server.add_insecure_port(f"{host}:{port}") == port
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
    finally:
        server.stop(None)
