"""`python -m pipeline.demo`: shows on the sample what a pushed model recommends, and how well.

The sample's new products have hidden purchases, in an answer key that training never sees. Here
they mark what a customer really bought. Everything goes through a model server over gRPC.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from models.errors import DebutError
from pipeline.commands.configuring import PATH
from pipeline.commands.failures import FailingCommand, debug_option
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import SAMPLE
from serving.client import Client
from serving.dependent import dependent
from serving.ports import free_port

_SHOWN_CUSTOMERS: Final = 3
_SHOWN_HISTORY: Final = 4
_SHOWN_PRODUCTS: Final = 8
_ENOUGH: Final = 5  # purchases, known and hidden, of a customer worth showing
_RECALL_AT: Final = 20
_BATCH: Final = 64


@dataclass(frozen=True)
class Sample:
    """The sample with its answer key.

    Attributes:
        titles: item id to title, the whole catalogue.
        bought: user id to item ids, in the order of the purchases.
        hidden: user id to the new products that were bought.
    """

    titles: Mapping[str, str]
    bought: Mapping[str, Sequence[str]]
    hidden: Mapping[str, frozenset[str]]


@click.command(
    cls=FailingCommand,
    epilog="""\b
Example:
  python -m pipeline.demo --root runs""",
)
@click.option("--root", type=PATH, default="runs", show_default=True)
@debug_option
def demo(root: Path) -> None:
    """Recommend the sample's new products to three of its customers, and measure recall."""
    console = open_console()
    sample = read_sample()
    with serving(root) as client:
        [probe] = client.recommend([_shown(sample)[0]], k=_RECALL_AT, new_only=True)
        if not sample.titles.keys() >= set(probe.item_ids):
            console.print("The pushed model knows another shop than the sample: no demo.")
            return
        for user in _shown(sample):
            _show(console, client, sample, user)
        recall = measure_recall(client, sample)
    console.print(
        f"Recall@{_RECALL_AT} among new products, over the hidden purchases of "
        f"{len(sample.hidden):,} customers, asked of the server: {recall:.3f}",
        soft_wrap=True,
    )
    command = os.path.relpath(Path(sys.executable).parent / "debut")
    at = shlex.quote(str(root))
    console.print(f"Serve the model: {command} serve --root {at}", soft_wrap=True)


def read_sample() -> Sample:
    """Reads the catalogue, the purchases, and the hidden ones."""
    bought: dict[str, list[tuple[int, str]]] = {}
    hidden: dict[str, set[str]] = {}
    for row in _rows("interactions.csv.gz"):
        bought.setdefault(row["user_id"], []).append((int(row["timestamp"]), row["item_id"]))
    for row in _rows("answer_key.csv.gz"):
        hidden.setdefault(row["user_id"], set()).add(row["item_id"])
    return Sample(
        titles={row["item_id"]: row["title"] for row in _rows("items.csv.gz")},
        bought={user: [item for _, item in sorted(rows)] for user, rows in bought.items()},
        hidden={user: frozenset(items) for user, items in hidden.items()},
    )


@contextmanager
def serving(root: Path) -> Iterator[Client]:
    """Runs `debut serve` with the embedded server on a free port, and connects to it.

    Raises:
        DebutError: it ended before it was ready; the message is what it said.
    """
    port = free_port()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            dependent(
                [
                    sys.executable, "-m", "pipeline.cli", "serve", f"--root={root}",
                    "--engine=embedded", f"--grpc-port={port}", "--rest-port=0",
                ]
            ),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            if not process.stdout.readline():  # the one line that says it is ready
                process.wait()
                log.seek(0)
                said = log.read().rpartition("Error: ")[2]
                raise DebutError(f"The demo's server ended: {said}")
            with Client(f"127.0.0.1:{port}", timeout=60) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def measure_recall(client: Client, sample: Sample) -> float:
    """Mean over customers of hits / min(k, hidden purchases), among new products."""
    users = sorted(sample.hidden)
    total = 0.0
    for start in range(0, len(users), _BATCH):
        batch = users[start : start + _BATCH]
        rankings = client.recommend(batch, k=_RECALL_AT, new_only=True)
        for user, ranking in zip(batch, rankings, strict=True):
            hits = sample.hidden[user].intersection(ranking.item_ids)
            total += len(hits) / min(_RECALL_AT, len(sample.hidden[user]))
    return total / len(users)


def _shown(sample: Sample) -> list[str]:
    """Customers with enough to show, drawn by a hash: not those that look best."""
    enough = [
        user
        for user, items in sample.hidden.items()
        if len(items) >= _ENOUGH and len(sample.bought.get(user, ())) >= _ENOUGH
    ]
    return sorted(enough, key=lambda user: hashlib.sha256(user.encode()).digest())[
        :_SHOWN_CUSTOMERS
    ]


def _show(console: Console, client: Client, sample: Sample, user: str) -> None:
    [ranking] = client.recommend([user], k=_SHOWN_PRODUCTS, new_only=True)
    latest = sample.bought[user][-_SHOWN_HISTORY:]
    table = new_table("new product", "score", "really bought")
    for item, score in zip(ranking.item_ids, ranking.scores, strict=True):
        table.add_row(
            sample.titles[item], f"{score:.3f}", "yes" if item in sample.hidden[user] else ""
        )
    titles = "; ".join(sample.titles[item] for item in latest)
    print_table(console, f"Customer {user}, who lately bought {titles}", table)


def _rows(file: str) -> Iterator[dict[str, str]]:
    with gzip.open(SAMPLE / file, "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


if __name__ == "__main__":
    demo()
