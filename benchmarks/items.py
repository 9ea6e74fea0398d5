"""What adding products to a pushed model takes, while a server of it is asked."""

from __future__ import annotations

import csv
import functools
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import click

from benchmarks.load import Load, grpc_client, load
from benchmarks.root_copy import copy_newest
from benchmarks.root_option import root_option
from benchmarks.serving import embedded_server, list_requests
from components.ingestion.folder import ITEMS, open_table
from components.ingestion.newcomers import read_products
from models.errors import DebutError
from models.products import Product
from pipeline.commands.terminal import open_console
from pipeline.layout import SAMPLE, serving_folder
from pipeline.newest import newest_version
from pipeline.pushed import read_terms
from serving.client import Client

_PREFIX: Final = "benchmark-"
_POLL_SECONDS: Final = 0.02
# A client without pause would take one of two cores.
_PAUSE: Final = 0.01
_MOST_SECONDS: Final = 120.0
_SECONDS: Final = re.compile(r"([\d.]+) s for their texts, ([\d.]+) s for the shelf")


class _Addition(NamedTuple):
    """Seconds of one addition."""

    embedding: float
    shelf: float
    whole: float
    visible: float  # from the push to the first answer that names a new product


@click.command()
@root_option
@click.option("--products", default=1000, show_default=True, metavar="NUMBER", help="How many.")
def items(root: Path, products: int) -> None:
    """Seconds that adding products takes, and what clients see of it."""
    console = open_console()
    with tempfile.TemporaryDirectory(prefix="debut-items-") as scratch:
        copy = Path(scratch)
        copy_newest(root, copy)
        file = copy / "new.csv"
        _write(file, _made_up(root, products))
        with console.status(f"Adding {products:,} products under load"):
            found, asked = _measured(copy, file)
    console.print(
        f"{products:,} products: {found.embedding:.1f} s for their texts, {found.shelf:.2f} s for "
        f"the shelf, {found.whole:.1f} s the whole command; the first answer named one "
        f"{found.visible:.2f} s after the push. Meanwhile {asked.answers:,} answers to one "
        f"client, {len(asked.failures)} failures.",
        soft_wrap=True,
    )


def _made_up(root: Path, count: int) -> list[Product]:
    """Products of the sample, each with half of the words of another one."""
    options = read_terms(root, newest_version(serving_folder(root))).options
    [file] = [path for path in SAMPLE.iterdir() if path.name.split(".")[0] == ITEMS]
    known, _ = read_products(open_table(file, ITEMS), options)
    rng = random.Random(0)
    made = []
    for number in range(count):
        one, other = rng.sample(known, 2)
        words = [*one.title.split()[:3], *other.title.split()[-2:]]
        made.append(one._replace(item=f"{_PREFIX}{number}", title=" ".join(words)))
    return made


def _write(file: Path, products: Sequence[Product]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        columns = ("title", "category", "brand", "description", "price")
        writer = csv.writer(stream)
        writer.writerow(["item_id", *columns])
        for product in products:
            writer.writerow([product.item, *(getattr(product, name) for name in columns)])


def _measured(root: Path, file: Path) -> tuple[_Addition, Load]:
    serving = serving_folder(root)
    base, done = newest_version(serving), threading.Event()
    old = int(base.name)
    with embedded_server(serving, version=old) as server, ThreadPoolExecutor(1) as beside:
        connect = functools.partial(grpc_client, server.grpc_port, list_requests(base))
        client = beside.submit(load, connect, clients=1, until=done.is_set, pause=_PAUSE)
        try:
            start = time.monotonic()
            command = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "items", "add", "--root", str(root),
                 "--items", str(file)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            visible = _seconds_to_visible(command, serving, old, server.grpc_port)
            output, _ = command.communicate()
            whole = time.monotonic() - start
        finally:
            done.set()
        asked = client.result()
    found = _SECONDS.search(output)
    if command.returncode or found is None:
        raise DebutError(f"debut items add ended with {command.returncode}: {output}")
    return _Addition(float(found[1]), float(found[2]), whole, visible), asked


def _seconds_to_visible(
    command: subprocess.Popen[str], serving: Path, old: int, port: int
) -> float:
    """From the moment a new version stands there to the first answer that names its products."""
    while int(newest_version(serving).name) == old:
        if command.poll() is not None:
            return 0.0
        time.sleep(_POLL_SECONDS)
    pushed = time.monotonic()
    with Client(f"127.0.0.1:{port}", timeout=60.0) as client:
        while not any(item.startswith(_PREFIX) for item in _new_items(client)):
            if time.monotonic() - pushed > _MOST_SECONDS:
                raise DebutError(f"No answer named a new product within {_MOST_SECONDS:g} s.")
            time.sleep(_POLL_SECONDS)
    return time.monotonic() - pushed


def _new_items(client: Client) -> Sequence[str]:
    [ranking] = client.recommend(["nobody"], k=100, new_only=True)
    return ranking.item_ids
