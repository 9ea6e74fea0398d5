"""gRPC over TLS from the stock `SSLConfig` text proto, which holds PEM text, not paths."""

from __future__ import annotations

import grpc

from serving.config.messages import SSLConfig
from serving.config.text_proto import read_text_proto


def read_credentials(path: str) -> grpc.ServerCredentials:
    """The server's credentials from an `SSLConfig` file.

    With `client_verify` a client must show a certificate that `custom_ca` signed; where there is no
    `custom_ca`, nobody can. Whether key and certificate are any good shows when a port is opened.

    Raises:
        StatusError: NOT_FOUND for a missing file, INVALID_ARGUMENT for an empty or unfit one.
    """
    config = read_text_proto(path, SSLConfig())
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or (b"" if config.client_verify else None),
        require_client_auth=config.client_verify,
    )
