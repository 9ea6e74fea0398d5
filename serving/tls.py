"""gRPC over TLS from the stock `SSLConfig` text proto, which holds PEM text, not paths.

`tensorflow_serving.apis` ships without that message, so it is declared here, field for field.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from serving.model_config import read_text_proto

_Field = descriptor_pb2.FieldDescriptorProto


def _ssl_config_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="debut/ssl_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    message = file.message_type.add(name="SSLConfig")
    for number, (name, kind) in enumerate(
        (
            ("server_key", _Field.TYPE_STRING),
            ("server_cert", _Field.TYPE_STRING),
            ("custom_ca", _Field.TYPE_STRING),
            ("client_verify", _Field.TYPE_BOOL),
        ),
        start=1,
    ):
        message.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    # A pool of its own: the stock file would clash with ours where both are loaded.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory: Any = message_factory.MessageFactory(pool)
    return factory.GetPrototype(pool.FindMessageTypeByName("tensorflow.serving.SSLConfig"))


SSLConfig: Any = _ssl_config_class()
"""The message of `--ssl_config_file`: server_key, server_cert, custom_ca, client_verify."""


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
