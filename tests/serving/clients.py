"""The two clients under one face, so that one test holds for both."""

import asyncio

from serving.async_client import AsyncClient
from serving.client import Client


class Awaited:
    """An `AsyncClient` on a loop of its own, whose calls are awaited here."""

    def __init__(self, *args, **kwargs):
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._made(*args, **kwargs))

    @staticmethod
    async def _made(*args, **kwargs):
        return AsyncClient(*args, **kwargs)

    def within(self, timeout):
        other = object.__new__(Awaited)
        other._loop, other._client = self._loop, self._client.within(timeout)
        return other

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


CLIENTS = {"blocking": Client, "asyncio": Awaited}
