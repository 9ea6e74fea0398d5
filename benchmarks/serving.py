"""Latency and throughput of `recommend`: in process, over gRPC and over REST, in one run.

The figures of one run are compared with one another; those of two machines can't be.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
import tensorflow as tf
from rich.console import Console
from tensorflow_serving.apis import predict_pb2

from benchmarks.as_served import load_as_served
from benchmarks.generated import in_a_process, with_items
from benchmarks.load import Ask, Latencies, Load, grpc_client, load, measure, rest_client
from benchmarks.memory import resident_mib
from benchmarks.root_option import root_option
from components.warmup import predict_request
from models.errors import DebutError
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import MODEL_NAME, serving_folder
from pipeline.newest import newest_version
from serving.client import Client
from serving.inference.predict import predict
from serving.launcher import command
from serving.ports import free_port

_K: Final = 10
_ROUNDS: Final = 4
_WARM_UP: Final = 30
_CALLS: Final = 150
_MOST_SECONDS: Final = 5.0
_CLIENTS: Final = (1, 4, 16)
_LOAD_SECONDS: Final = 2.0
_SWAP_SECONDS: Final = 2.0
# Clients without pause would leave a machine of two cores no time to load the next version.
_SWAP_CLIENTS: Final = 6
_SWAP_PAUSE: Final = 0.01
_USERS: Final = 500
_BATCHING: Final = """max_batch_size {{ value: 16 }}
batch_timeout_micros {{ value: {wait} }}
num_batch_threads {{ value: 1 }}
max_enqueued_batches {{ value: 1000 }}
"""
# Microseconds. A scan is worth waiting for: else the requests that come a moment after the first
# one wait for a scan of its own.
_SCAN_WAIT: Final = 20_000


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    process: subprocess.Popen[bytes]
    grpc_port: int
    rest_port: int

    def resident_mib(self) -> float:
        """Resident memory in MiB."""
        return resident_mib(self.process.pid)


@click.command()
@root_option
@click.option("--items", type=int, multiple=True, help="Sizes of the shelf; 0 is the catalogue's.")
@click.option("--swaps", type=int, default=50, show_default=True, help="Under load; 0: none.")
@click.option("--exact", is_flag=True, help="Large shelves without an index: each is scanned.")
def serving(root: Path, items: tuple[int, ...], swaps: int, exact: bool) -> None:
    """Measure the model that the last run pushed, with a shelf of several sizes."""
    console = open_console()
    pushed = newest_version(serving_folder(root))
    requests = list_requests(pushed)
    smallest: float | None = None
    with tempfile.TemporaryDirectory() as scratch:
        for size in items or (0, 100_000, 1_000_000):
            base = Path(scratch) / str(size) / MODEL_NAME
            base.mkdir(parents=True)
            if size:
                with console.status(f"Generating {size:,} items"):
                    in_a_process(with_items, pushed, base / "1", size, exact=exact)
            else:
                shutil.copytree(pushed, base / "1")
            wait = _SCAN_WAIT if size and exact else 0
            memory = _report(console, base, size, requests, wait)
            if size and smallest is not None:
                _report_memory(console, base / "1", size, memory - smallest)
            smallest = memory if smallest is None and not size else smallest
            if swaps and not size:
                _report_swaps(console, base, requests, swaps)
            shutil.rmtree(base)


def list_requests(pushed: Path) -> list[predict_pb2.PredictRequest]:
    """Requests to `recommend` for known users with the histories of the shelf."""
    ids = next((pushed / "assets").glob("users*.txt")).read_text().splitlines()
    return [
        predict_request(
            MODEL_NAME, "recommend", user_id=[user], history=tf.zeros([1, 0], tf.string),
            profile=[""], k=np.int32(_K), new_only=False,
        )
        for user in ids[:: max(1, len(ids) // _USERS)]
    ]  # fmt: skip


def _bodies(requests: Sequence[predict_pb2.PredictRequest]) -> list[bytes]:
    return [
        json.dumps(
            {
                "signature_name": "recommend",
                "inputs": {
                    "user_id": [request.inputs["user_id"].string_val[0].decode()],
                    "history": [[]],
                    "profile": [""],
                    "k": _K,
                    "new_only": False,
                },
            }
        ).encode()
        for request in requests
    ]


@contextmanager
def embedded_server(
    base: Path, *flags: str, version: int = 1, model_config: str = ""
) -> Iterator[Server]:
    """A server of a folder of versions, ready when the version is available."""
    grpc_port, rest_port = free_port(), free_port()
    process = subprocess.Popen(
        [
            *command(
                "embedded", base_path=str(base), model_name=MODEL_NAME, host="127.0.0.1",
                grpc_port=grpc_port, rest_port=rest_port, model_config=model_config,
            ),
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(process, grpc_port, version)
        yield Server(process, grpc_port, rest_port)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, version: int) -> None:
    """Until the version is available."""
    with Client(f"127.0.0.1:{port}", timeout=1.0) as client:
        while process.poll() is None:
            try:
                if any(v.version == version and v.is_available for v in client.status()):
                    return
            except DebutError:  # not listening yet
                pass
            time.sleep(0.2)
    raise DebutError(f"The model server ended with exit code {process.returncode}.")


@contextmanager
def in_process(model: Path, requests: Sequence[predict_pb2.PredictRequest]) -> Iterator[Ask]:
    """Asks a version that is loaded into this process."""
    servable = load_as_served(model)

    def ask(number: int) -> int:
        answer = predict(servable, requests[number % len(requests)])
        version: int = answer.model_spec.version.value
        return version

    try:
        yield ask
    finally:
        servable.close()


def _latencies(
    model: Path, server: Server, requests: Sequence[predict_pb2.PredictRequest]
) -> dict[str, Latencies]:
    """Of one client, by the way that it asks: one way after the other, several times."""
    path = f"/v1/models/{MODEL_NAME}:predict"
    with (
        in_process(model, requests) as here,
        grpc_client(server.grpc_port, requests) as by_grpc,
        rest_client(server.rest_port, path, _bodies(requests)) as by_rest,
    ):
        ways = {"in process": here, "gRPC": by_grpc, "REST": by_rest}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            for name, ask in ways.items():
                found[name] += measure(
                    ask, calls=_CALLS, warm_up=_WARM_UP, most_seconds=_MOST_SECONDS
                ).milliseconds
    return {name: Latencies(tuple(milliseconds)) for name, milliseconds in found.items()}


def _loads_in_turns(
    servers: Sequence[Server], requests: Sequence[predict_pb2.PredictRequest], clients: int
) -> list[Load]:
    """Ask one server after the other, several times, so that all see one machine.

    Of the first time nothing counts: a server does more at its first batches of a size.
    """
    found = [Load() for _ in servers]
    for number in range(1 + _ROUNDS):
        for server, total in zip(servers, found, strict=True):
            connect = functools.partial(grpc_client, server.grpc_port, requests)
            end = time.monotonic() + _LOAD_SECONDS
            seen = load(connect, clients=clients, until=functools.partial(_is_over, end))
            if number:
                total += seen
    return found


def _is_over(end: float) -> bool:
    return time.monotonic() > end


def _batching(base: Path, wait: int) -> tuple[str, ...]:
    """Flags of a server that waits for so many microseconds for a batch to fill."""
    parameters = base.parent / "batching.pbtxt"
    parameters.write_text(_BATCHING.format(wait=wait))
    return "--enable_batching", f"--batching_parameters_file={parameters}"


def _report(
    console: Console,
    base: Path,
    size: int,
    requests: Sequence[predict_pb2.PredictRequest],
    wait: int,
) -> float:
    """Latency and throughput of one size; returns the server's resident memory in MiB."""
    shown = f"{size:,} items" if size else "The catalogue's own items"
    with console.status(f"{shown}: one client"), embedded_server(base) as server:
        rows = _latencies(base / "1", server, requests)
        memory = server.resident_mib()
        with embedded_server(base, *_batching(base, wait)) as batching:
            loads = [_loads_in_turns((server, batching), requests, n) for n in _CLIENTS]
    table = new_table("one client, milliseconds", "median", "p99", "median over in process")
    for name, latencies in rows.items():
        over = latencies.median - rows["in process"].median
        table.add_row(name, f"{latencies.median:.2f}", f"{latencies.p99:.2f}", f"{over:+.2f}")
    print_table(console, f"{shown}, {memory:,.0f} MiB resident", table)
    table = new_table("clients", "answers/s", "batched", "ratio", "failures")
    for clients, (one, other) in zip(_CLIENTS, loads, strict=True):
        table.add_row(
            str(clients),
            f"{one.per_second:.0f}",
            f"{other.per_second:.0f}",
            f"{other.per_second / one.per_second:.2f}",
            str(len(one.failures) + len(other.failures)),
        )
    print_table(console, f"{shown}: throughput over gRPC", table)
    return memory


def _report_memory(console: Console, model: Path, size: int, growth: float) -> None:
    """What the items take beyond the catalogue's own, in relation to their embeddings alone."""
    signature = tf.saved_model.load(str(model)).signatures["embed_items"]
    width = signature.structured_outputs["embedding"].shape[1]
    embeddings = size * width * 4 / 2**20
    console.print(
        f"{size:,} items x {width}: {growth:,.0f} MiB more than the catalogue's own, "
        f"{growth / embeddings:.2f} times their embeddings ({embeddings:,.0f} MiB).",
        soft_wrap=True,
    )
    console.print()


def _report_swaps(
    console: Console, base: Path, requests: Sequence[predict_pb2.PredictRequest], swaps: int
) -> None:
    """Push version after version while clients ask, each when the one before is served."""
    done = threading.Event()
    memory: list[float] = []

    def swap(server: Server) -> None:
        try:
            for version in range(2, swaps + 2):
                _push(base, version)
                time.sleep(_SWAP_SECONDS)
                _wait(server.process, server.grpc_port, version)
                memory.append(server.resident_mib())
        finally:
            done.set()

    with (
        console.status(f"{swaps} versions under load"),
        embedded_server(base) as server,
        ThreadPoolExecutor(1) as beside,
    ):
        pushing = beside.submit(swap, server)
        connect = functools.partial(grpc_client, server.grpc_port, requests)
        found = load(connect, clients=_SWAP_CLIENTS, until=done.is_set, pause=_SWAP_PAUSE)
        pushing.result()
    early = memory[min(4, len(memory) - 1)]
    console.print(
        f"{swaps} swaps under load: {found.answers:,} answers, "
        f"{len(found.failures)} failures, versions went back {found.went_back} times; resident "
        f"memory after 5 swaps {early:,.0f} MiB, at the end {memory[-1]:,.0f} MiB "
        f"({memory[-1] / early:.2f} times).",
        soft_wrap=True,
    )
    console.print()


def _push(base: Path, version: int) -> None:
    """A copy of version 1 under a new number, visible all at once; only two are kept."""
    hidden = base / f".{version}"
    shutil.copytree(base / "1", hidden, copy_function=os.link)
    hidden.rename(base / str(version))
    if version > 3:
        shutil.rmtree(base / str(version - 2))
