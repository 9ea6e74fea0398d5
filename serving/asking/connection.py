"""What the blocking and the asyncio client share: the terms of a connection, retries, failures."""

from __future__ import annotations

import copy
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import grpc

from models.errors import BadInput, DebutError, Unreachable
from serving.asking.handshakes import hopeless
from serving.asking.questions import RESPONSES, STATUS, Question
from serving.asking.refusals import meaning, plain
from serving.asking.wire import MESSAGES
from serving.asking.wire_tensors import strings
from serving.client_credentials import Tls, bearer_metadata, is_local

Answer = TypeVar("Answer")
Self = TypeVar("Self", bound="Connection")

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name that stands for several servers, as a headless service does, is asked of them in turn.
    ("grpc.lb_policy_name", "round_robin"),
]
# gRPC asks the proxy of the environment for this machine too, which the proxy can't reach.
_LOCAL_OPTIONS: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0


class Connection(ABC):
    """One channel to one model on one server, kept open from call to call."""

    def __init__(
        self,
        target: str,
        *,
        model: str = "debut",
        label: str = "",
        timeout: float = 10.0,
        tls: Tls | None = None,
        token: str | None = None,
        allow_plain_token: bool = False,
        fallback: Sequence[str] = (),
    ) -> None:
        """Connects on first use.

        Args:
            target: `HOST:PORT` or `unix:PATH`.
            model: name under which the model is served.
            label: such as `stable`: ask the version that has it; empty for the newest one.
            timeout: seconds that a call may take, its retries included.
            tls: encrypts the connection, and may name a client certificate; None for plain text.
            token: sent with every call as `authorization: Bearer TOKEN`; needs `tls`.
            allow_plain_token: send the token without TLS, to this machine only.
            fallback: item ids by popularity, best first, that `recommend` answers with where no
                server does in time; its `Ranking` then has no version. Empty: `Unreachable`.

        Raises:
            BadInput: the token may not travel to this target, or is none; `fallback` holds
                something else than texts.
        """
        strings("fallback", fallback, len(fallback))
        self.target = target
        self.model = model
        self.label = label
        self.version: int | None = None
        self.timeout = timeout
        self.fallback = tuple(fallback)
        self._credentials = None if tls is None else tls.channel_credentials()
        self._metadata = bearer_metadata(
            token, target=target, tls=tls, allow_plain_token=allow_plain_token
        )
        self._options = _OPTIONS + (_LOCAL_OPTIONS if is_local(target) else [])
        self._channel = self._open()
        self._methods = {
            path: self._channel.unary_unary(
                path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=MESSAGES[response].FromString,
            )
            for path, response in RESPONSES.items()
        }

    @abstractmethod
    def _open(self) -> Any:
        """The channel, with `_options`."""

    def within(self: Self, timeout: float) -> Self:
        """The same client over the same connection, with another time limit for its calls.

        For example `client.within(0.05).recommend(["u1"])`. Closing either closes both.
        """
        other = copy.copy(self)
        other.timeout = timeout
        return other

    def at(self: Self, version: int) -> Self:
        """The same client over the same connection, which asks that version whatever its label.

        Closing either closes both.
        """
        other = copy.copy(self)
        other.version = version
        return other

    def _call(self, question: Question[Any], attempts: Attempts) -> Any:
        """Starts the call of one attempt."""
        if question.method != STATUS:
            if self.version is not None:
                question.request.model_spec.version.value = self.version
            elif self.label:
                question.request.model_spec.version_label = self.label
        return self._methods[question.method](
            question.request, timeout=attempts.remaining(), metadata=self._metadata
        )

    def _without_answer(self, question: Question[Answer], error: grpc.RpcError) -> Answer:
        """The fallback where there is one for the question, else the failure as an exception."""
        failure = self._failure(error)
        if self.fallback and question.fall_back and isinstance(failure, Unreachable):
            return question.fall_back(self.fallback)
        raise failure from error

    def _failure(self, error: grpc.RpcError) -> DebutError:
        code, details = error.code(), plain(error.details() or "")
        if code is grpc.StatusCode.UNAVAILABLE:
            return Unreachable(
                hopeless(details, self.target)
                or f"No model server answers at {self.target} ({details}). Start one with"
                " `debut serve`, name another with --target, or check the TLS options."
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreachable(
                f"The model server at {self.target} did not answer within {self.timeout:g} s."
            )
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return BadInput(meaning(details, self.target) or details)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            return DebutError(
                f"The model server at {self.target} does not know who asks ({details}). Give the"
                " token that it expects with --token-file."
            )
        told = f"The model server at {self.target} answered {code.name}: {details}"
        return DebutError(meaning(details, self.target) or told)


class Attempts:
    """The attempts of one call: how long the next may take, and whether there is one.

    Only UNAVAILABLE is tried again, and not where a TLS handshake is hopeless: every other failure
    would come out the same.
    """

    def __init__(self, timeout: float) -> None:
        """The time runs from here."""
        self._deadline = time.monotonic() + timeout
        self._pause = _FIRST_PAUSE_SECONDS

    def remaining(self) -> float:
        """Seconds that the attempt may take."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause_after(self, code: grpc.StatusCode, details: str | None) -> float | None:
        """Seconds to wait before the next attempt; None where there is to be none.

        Args:
            code: that the attempt ended with.
            details: likewise.
        """
        pause = self._pause
        self._pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        if code is not grpc.StatusCode.UNAVAILABLE or hopeless(details or "", target=""):
            return None
        if time.monotonic() + pause >= self._deadline:
            return None
        return pause * random.uniform(0.5, 1.0)
