"""`AsyncClient`: the calls of `serving.client.Client`, to be awaited."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc

from serving.asking import questions
from serving.asking.connection import Attempts, Connection
from serving.asking.questions import Question

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


def _asks(
    build: Callable[Concatenate[str, Arguments], Question[Answer]],
) -> Callable[Concatenate[AsyncClient, Arguments], Coroutine[Any, Any, Answer]]:
    """The method that asks a question of the client's model."""

    async def ask(
        client: AsyncClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Answer:
        return await client._ask(build(client.model, *args, **kwargs))

    functools.update_wrapper(ask, build)
    return ask


class AsyncClient(Connection):
    """A connection to one model server, for the event loop that is running when it is made.

    Arguments and failures are those of `serving.client.Client`.
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

    async def __aenter__(self) -> AsyncClient:
        """The client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    def _open(self) -> Any:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.target, options=self._options)
        return grpc.aio.secure_channel(self.target, self._credentials, options=self._options)

    async def _ask(self, question: Question[Answer]) -> Answer:
        if question.settled is not None:
            return question.settled
        attempts = Attempts(self.timeout)
        while True:
            try:
                return question.read(await self._call(question, attempts))
            except grpc.RpcError as error:
                pause = attempts.pause_after(error.code(), error.details())
                if pause is None:
                    return self._without_answer(question, error)
            await asyncio.sleep(pause)
