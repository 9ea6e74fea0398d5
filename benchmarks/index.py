"""The index of a large catalogue: how long it takes to build, and what it finds how fast."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops
from rich.console import Console

from benchmarks.generated import INDEX, in_a_process, with_items
from benchmarks.load import Ask, Latencies, measure
from benchmarks.root_option import root_option
from benchmarks.serving import in_process, list_requests
from models.arrays import Floats
from models.candidates.search import LONGEST
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import serving_folder
from pipeline.newest import newest_version

_CALLS: Final = 300
_WARM_UP: Final = 20
_MOST_SECONDS: Final = 20.0
_SEED: Final = 101
# Scores that differ by less are the same: the order of a sum is not fixed.
_SAME: Final = 1e-4


@dataclass(frozen=True)
class Asked:
    """Questions to `recommend` for k items, and the k best scores of all items for each, [N, k]."""

    requests: Sequence[dict[str, tf.Tensor]]
    best: Floats

    def recall(self, ask: Any) -> float:
        """Share of the places that hold an item as good as the k best."""
        found = np.concatenate([ask(**request)["score"].numpy() for request in self.requests])
        return float(np.mean(found >= self.best[:, -1:] - _SAME))


@click.command()
@root_option
@click.option("--items", default=1_000_000, show_default=True, help="Of the generated shelf.")
@click.option(
    "--length", type=click.IntRange(1, LONGEST), default=10, show_default=True, metavar="K",
    help="Of the lists.",
)  # fmt: skip
@click.option("--users", default=200, show_default=True, help="Users of each kind.")
@click.option(
    "--scanned", type=int, multiple=True, default=(8192, 16384, 32768, 65536),
    show_default=True, help="Places of the index that are looked at; repeatable.",
)  # fmt: skip
def index(root: Path, items: int, length: int, users: int, scanned: tuple[int, ...]) -> None:
    """Measure the index of a generated catalogue against exact search."""
    console, pushed = open_console(), newest_version(serving_folder(root))
    with tempfile.TemporaryDirectory(prefix="debut-index-") as scratch:
        generated = Path(scratch) / "1"
        # It says itself how long the index took.
        in_a_process(with_items, pushed, generated, items)
        with in_process(generated, list_requests(pushed)) as ask_served:
            served = _measured(ask_served)
        model = tf.saved_model.load(str(generated))
        shelf, ask = model._shelf, model.signatures["recommend"]
        with console.status("Exact search"):
            asked = {
                "known users": _asked(ask, _known(pushed, users), length),
                "made-up histories": _asked(ask, _made_up(shelf, users), length),
            }
        _report(console, shelf, ask, asked, scanned)
    console.print(
        f"As it is served, {INDEX.scanned:,} scanned, in process: median {served.median:.2f} ms, "
        f"p99 {served.p99:.2f} ms.",
        soft_wrap=True,
    )


def _request(user: bytes, history: Sequence[bytes], k: int) -> dict[str, tf.Tensor]:
    return {
        "user_id": tf.constant([user]),
        "history": tf.constant([list(history)], tf.string, [1, len(history)]),
        "profile": tf.constant([""]),
        "k": tf.constant(k),
        "new_only": tf.constant(False),
    }


def _known(pushed: Path, users: int) -> list[tuple[bytes, list[bytes]]]:
    """Users of the sample, with the histories of the shelf."""
    ids = next((pushed / "assets").glob("users*.txt")).read_bytes().splitlines()
    return [(user, []) for user in np.random.default_rng(_SEED).choice(ids, users, replace=False)]


def _made_up(shelf: Any, users: int) -> list[tuple[bytes, list[bytes]]]:
    """Unknown users who bought half of what one user did, and half of another's.

    The index was not fitted to them.
    """
    random = np.random.default_rng(_SEED)
    items, offset = shelf.user_items.numpy(), shelf.user_offset.numpy()
    ids = shelf.item_id.numpy()
    found = []
    for _ in range(users):
        halves = []
        for user in random.integers(0, len(offset) - 1, 2):
            bought = items[offset[user] : offset[user + 1]]
            halves.append(random.choice(bought, (len(bought) + 1) // 2, replace=False))
        found.append((b"", ids[np.unique(np.concatenate(halves))].tolist()))
    return found


def _asked(ask: Any, users: Sequence[tuple[bytes, list[bytes]]], k: int) -> Asked:
    # A longer list than any shortlist is taken from all items.
    best = [ask(**_request(*user, LONGEST + 1))["score"].numpy()[:, :k] for user in users]
    return Asked([_request(*user, k) for user in users], np.concatenate(best))


def _report(
    console: Console, shelf: Any, ask: Any, asked: dict[str, Asked], scanned: Sequence[int]
) -> None:
    """A row for each part of the index that is scanned, and one for the scan of all embeddings."""
    latency = [f"{name}, median ms (p99)" for name in asked]
    table = new_table("scanned", *(f"recall, {name}" for name in asked), *latency)
    for number in (*scanned, 0):
        # Nothing of it: the search goes on as without an index.
        shelf.index.scanned.assign([number])
        recall = [f"{one.recall(ask):.4f}" for one in asked.values()]
        taken = [_latency(ask, one) for one in asked.values()]
        shown = f"{number:,}" if number else "all embeddings"
        table.add_row(shown, *recall, *(f"{t.median:.2f} ({t.p99:.2f})" for t in taken))
    shelf.index.scanned.assign([INDEX.scanned])
    length = next(iter(asked.values())).best.shape[1]
    title = f"The best {length:,} of {len(shelf.item_id.numpy()):,} items"
    print_table(console, title, table)


def _latency(ask: Any, asked: Asked) -> Latencies:
    def call(number: int) -> int:
        ask(**asked.requests[number % len(asked.requests)])["score"].numpy()
        return 0

    return _measured(call)


def _measured(ask: Ask) -> Latencies:
    return measure(ask, calls=_CALLS, warm_up=_WARM_UP, most_seconds=_MOST_SECONDS)
