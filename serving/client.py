"""`Client`: what the served model can do, as typed Python calls over gRPC.

It talks to the stock server and to the embedded one alike, and imports no TensorFlow.
`serving.async_client` has the same for asyncio.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from serving.asking import questions
from serving.asking.connection import Attempts, Connection
from serving.asking.questions import Question

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


def _asks(
    build: Callable[Concatenate[str, Arguments], Question[Answer]],
) -> Callable[Concatenate[Client, Arguments], Answer]:
    """The method that asks a question of the client's model."""

    def ask(client: Client, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        return client._ask(build(client.model, *args, **kwargs))

    functools.update_wrapper(ask, build)
    return ask


class Client(Connection):
    """A connection to one model server; usable from several threads, and as a context manager.

    Every call raises `Unreachable` where no server answers in time, `BadInput` where the server
    refuses the arguments, and `DebutError` for any other failure.
    """

    recommend = _asks(questions.recommend)
    score = _asks(questions.score)
    explain = _asks(questions.explain)
    embed_items = _asks(questions.embed_items)
    embed_users = _asks(questions.embed_users)
    similar_items = _asks(questions.similar_items)
    audience = _asks(questions.audience)
    status = _asks(questions.status)
    metadata = _asks(questions.metadata)

    def __enter__(self) -> Client:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _open(self) -> Any:
        if self._credentials is None:
            return grpc.insecure_channel(self.target, options=self._options)
        return grpc.secure_channel(self.target, self._credentials, options=self._options)

    def _ask(self, question: Question[Answer]) -> Answer:
        if question.settled is not None:
            return question.settled
        attempts = Attempts(self.timeout)
        while True:
            try:
                return question.read(self._call(question, attempts))
            except grpc.RpcError as error:
                pause = attempts.pause_after(error.code(), error.details())
                if pause is None:
                    return self._without_answer(question, error)
            time.sleep(pause)
