"""TLS for the gRPC port, from the stock server's `SSLConfig`."""

from __future__ import annotations

import grpc

from serving.config_messages import SSLConfig
from serving.model_config import read_text_proto
from serving.status import invalid_argument


def server_credentials(path: str) -> grpc.ServerCredentials:
    """Reads `--ssl_config_file`: PEM text in the fields, not paths.

    With `client_verify` a client must show a certificate of `custom_ca`.

    Raises:
        StatusError: no such file, no `SSLConfig`, or a demand for certificates of no authority:
            the stock server starts with that, and no client can ever connect.
    """
    config = read_text_proto(path, SSLConfig())
    if config.client_verify and not config.custom_ca:
        raise invalid_argument(
            f"{path}: client_verify needs custom_ca, the certificate of the authority that signs"
            " the clients' certificates"
        )
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
