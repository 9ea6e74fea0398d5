"""Clients that ask a model server, and what they saw."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own for each client
_SECONDS = 60.0

Ask = Callable[[int], int]


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of calls, one after the other."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The 50th percentile."""
        return float(np.percentile(self.milliseconds, 50))

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return float(np.percentile(self.milliseconds, 99))


@dataclass
class Load:
    """What clients that asked at the same time saw.

    Attributes:
        answers: calls that were answered.
        failures: what the others ended with.
        seconds: from the first call to the last answer.
        went_back: how often a client was answered by an older version than before.
    """

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    went_back: int = 0

    @property
    def per_second(self) -> float:
        """Answers a second, of all clients together."""
        return self.answers / self.seconds

    def __iadd__(self, other: Load) -> Load:
        """Take in what clients saw at another time."""
        self.answers += other.answers
        self.failures += other.failures
        self.seconds += other.seconds
        self.went_back += other.went_back
        return self


def measure(ask: Ask, *, calls: int, warm_up: int, most_seconds: float) -> Latencies:
    """Ask `calls` times, fewer where that takes longer than `most_seconds`."""
    [latencies] = measure_in_turns([ask], calls=calls, warm_up=warm_up, most_seconds=most_seconds)
    return latencies


def measure_in_turns(
    asks: Sequence[Ask], *, calls: int, warm_up: int, most_seconds: float
) -> list[Latencies]:
    """Ask each of several the same, one call after the other, so that all see one machine."""
    for number in range(warm_up):
        for ask in asks:
            ask(number)
    taken: list[list[float]] = [[] for _ in asks]
    end = time.monotonic() + most_seconds
    while len(taken[0]) < calls and time.monotonic() < end:
        number = warm_up + len(taken[0])
        for ask, milliseconds in zip(asks, taken, strict=True):
            start = time.perf_counter()
            ask(number)
            milliseconds.append((time.perf_counter() - start) * 1e3)
    return [Latencies(tuple(milliseconds)) for milliseconds in taken]


def load(
    connect: Callable[[], AbstractContextManager[Ask]],
    *,
    clients: int,
    until: Callable[[], bool],
    pause: float = 0.0,
) -> Load:
    """Ask from several threads, each with a connection of its own, until `until` says so.

    Args:
        connect: opens a client's connection.
        clients: how many.
        until: whether to stop.
        pause: seconds between a client's answer and its next question.
    """

    def client(first: int) -> Load:
        seen, latest, number = Load(), 0, first
        with connect() as ask:
            while not until():
                try:
                    version = ask(number)
                except (grpc.RpcError, OSError, http.client.HTTPException) as error:
                    seen.failures.append(repr(error))
                else:
                    seen.answers += 1
                    seen.went_back += version < latest
                    latest = version
                number += clients
                time.sleep(pause)
        return seen

    found, start = Load(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for seen in pool.map(client, range(clients)):
            found += seen
    found.seconds = time.perf_counter() - start
    return found


@contextmanager
def grpc_client(port: int, requests: Sequence[predict_pb2.PredictRequest]) -> Iterator[Ask]:
    """Asks over gRPC; answers the version that answered."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(number: int) -> int:
            answer = stub.Predict(requests[number % len(requests)], timeout=_SECONDS)
            version: int = answer.model_spec.version.value
            return version

        yield ask


@contextmanager
def rest_client(port: int, path: str, bodies: Sequence[bytes]) -> Iterator[Ask]:
    """Asks over REST with one kept connection; the version is not told, so it answers 0."""
    with ExitStack() as stack:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        stack.callback(connection.close)

        def ask(number: int) -> int:
            connection.request("POST", path, bodies[number % len(bodies)])
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise http.client.HTTPException(text.decode("utf-8", "replace"))
            return 0

        yield ask
