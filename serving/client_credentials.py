"""How a client proves who it is, and knows whom it talks to: TLS and a bearer token."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from models.errors import BadInput


@dataclass(frozen=True)
class Tls:
    """PEM texts of a TLS connection.

    Attributes:
        ca: authorities that the server's certificate is checked against; None for those that
            gRPC ships with.
        certificate: the client's own certificate, where the server asks for one.
        key: its private key.
    """

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuses one half of a pair."""
        if (self.certificate is None) != (self.key is None):
            raise BadInput("A client certificate and its private key only go together; give both.")

    @classmethod
    def from_files(
        cls, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
    ) -> Tls:
        """From PEM files.

        Raises:
            BadInput: one can't be read, or of certificate and key only one is given.
        """
        return cls(*(None if path is None else _read(path) for path in (ca, certificate, key)))

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """The same, as gRPC takes it."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


def token_from_file(path: Path) -> str:
    """The bearer token that a file holds, without the white space around it.

    Raises:
        BadInput: the file can't be read, or holds something else than one word of ASCII.
    """
    token = _read(path).decode("utf-8", errors="replace").strip()
    _check_token(token)
    return token


def bearer_metadata(
    token: str | None, *, target: str, tls: Tls | None, allow_plain_token: bool
) -> tuple[tuple[str, str], ...]:
    """The metadata of every call: `authorization: Bearer TOKEN`, or nothing without a token.

    Args:
        token: the token.
        target: `HOST:PORT` or `unix:PATH`.
        tls: how the connection is encrypted; None where it is not.
        allow_plain_token: let the token go unencrypted to this machine.

    Raises:
        BadInput: anybody between here and the target could read the token, or it can't be sent.
    """
    if token is None:
        return ()
    _check_token(token)
    if tls is None and not (allow_plain_token and is_local(target)):
        raise BadInput(
            f"A bearer token would travel to {target} unencrypted. Connect over TLS (tls=, on the"
            " command line --tls-ca); only to this machine can allow_plain_token=True let it go."
        )
    return (("authorization", f"Bearer {token}"),)


def _check_token(token: str) -> None:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("The bearer token is not one word of printable ASCII characters.")


def is_local(target: str) -> bool:
    """Whether a `HOST:PORT` or `unix:PATH` can be nothing but this machine."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # another host's name
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from error
