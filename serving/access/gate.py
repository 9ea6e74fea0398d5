"""`Gate`: what a call passes on its way to the models: access log, tokens, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serving.access.access_log import AccessLog, AccessLogInterceptor
from serving.access.auth import AuthInterceptor, Tokens, read_tokens
from serving.access.limits import SPARE_THREADS, Limits, LimitsInterceptor
from serving.flags import Parsed
from serving.status import invalid_argument
from serving.versions.model_registry import ModelRegistry


@dataclass(frozen=True)
class Gate:
    """What was asked for by flags; nothing of it by default.

    Attributes:
        tokens: None lets everybody in.
        limits: on inference.
        access_log: None for no log.
    """

    tokens: Tokens | None = None
    limits: Limits = field(default_factory=Limits)
    access_log: AccessLog | None = None

    @classmethod
    def from_flags(cls, flags: Parsed, registry: ModelRegistry) -> Gate:
        """Reads the files that the flags name; raises `StatusError` where it can't."""
        tokens, log = flags.text("auth_token_file"), flags.text("access_log_file")
        return cls(
            tokens=read_tokens(tokens) if tokens else None,
            limits=Limits(
                message_bytes=flags.number("max_request_bytes"),
                rows=flags.number("max_request_rows"),
                concurrent=flags.number("max_concurrent_requests"),
            ),
            access_log=_open_log(log, registry) if log else None,
        )

    def interceptors(self) -> list[Any]:
        """For gRPC, outermost first."""
        chain: list[Any] = []
        if self.access_log:
            chain.append(AccessLogInterceptor(self.access_log))
        if self.tokens:
            chain.append(AuthInterceptor(self.tokens))
        if self.limits.rows or self.limits.concurrent:
            chain.append(LimitsInterceptor(self.limits))
        return chain

    def threads(self, wanted: int) -> int:
        """Threads for gRPC: enough that the concurrency limit is met before they run out."""
        return self.limits.concurrent + SPARE_THREADS if self.limits.concurrent else wanted


def _open_log(path: str, registry: ModelRegistry) -> AccessLog:
    try:
        return AccessLog(path, registry)
    except OSError as error:
        raise invalid_argument(f"{path}; {error.strerror}") from error
