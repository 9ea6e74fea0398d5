"""Bearer tokens for gRPC and REST, kept as SHA-256 only.

`--auth_token_file` holds one SHA-256 per line in hexadecimal; empty lines and lines that begin with
`#` are skipped. There is no salt, so a token must be long and random (`openssl rand -hex 32`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from serving.config.text_file import read_text
from serving.status import StatusError, invalid_argument

REFUSAL = "A valid bearer token is required."
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_SCHEME = "bearer "
_EXEMPT = "/grpc.health.v1.Health/"  # probes carry no secrets, and learn only whether it serves


class Tokens:
    """The tokens that are let in."""

    def __init__(self, hashes: Iterable[bytes]) -> None:
        """Args: SHA-256 digests, 32 bytes each."""
        self._hashes = tuple(hashes)

    def accepts(self, authorization: str) -> bool:
        """Whether the value of an `authorization` header holds one of the tokens.

        Takes the same time whichever token it is, and whether it is any.
        """
        scheme, token = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._hashes]
        return scheme.lower() == _SCHEME and any(matches)

    def check(self, authorization: str) -> None:
        """Raises `StatusError` UNAUTHENTICATED where `accepts` says no."""
        if not self.accepts(authorization):
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)


def read_tokens(path: str) -> Tokens:
    """The tokens of an `--auth_token_file`.

    Raises:
        StatusError: NOT_FOUND for a missing file; INVALID_ARGUMENT for a line that is no SHA-256
            (the text does not repeat it: it may be a token) or for no line at all.
    """
    hashes = []
    for number, line in enumerate(map(str.strip, read_text(path).split("\n")), start=1):
        if not line or line.startswith("#"):
            continue
        if not _HASH.fullmatch(line):
            raise invalid_argument(f"{path}; line {number} is not a SHA-256 in hexadecimal")
        hashes.append(bytes.fromhex(line))
    if not hashes:
        raise invalid_argument(f"{path}; holds no token, so that nobody could be let in")
    return Tokens(hashes)


class AuthInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses every RPC without a token, except those of the health service."""

    def __init__(self, tokens: Tokens) -> None:
        """Args: the tokens that are let in."""
        self._tokens = tokens
        # No deserializer: what a stranger sent is not even parsed.
        self._refused = grpc.unary_unary_rpc_method_handler(_refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The RPC's handler, or one that answers UNAUTHENTICATED."""
        sent = (value for key, value in details.invocation_metadata if key == "authorization")
        value = next(sent, "")
        if details.method.startswith(_EXEMPT) or self._tokens.accepts(value):
            return continuation(details)
        return self._refused


def _refuse(request: bytes, context: Any) -> Any:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
