"""Kills a run at a random moment, runs it again to the end, and asks a server all the while.

`python -m benchmarks resume` works on the small shop of the tests, so that twenty rounds end within
an hour; --data and --set take any other.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from benchmarks.serving import embedded_server
from components.version_folder import refresh_labels
from models.errors import DebutError
from pipeline.layout import serving_folder
from serving.client import Client
from serving.version_labels import versions_on_disk

_ASK_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 120.0
# Other splits in every round, so that no round finds its work done in the cache. What is tested is
# not whether one split is as easy as another.
_GATES: Final = (
    "gates.model=[{metric: squared_error, slice: overall, direction: lower, bound: 1, "
    "tolerance: 1}]",
    "gates.drift=1",
    "gates.skew=1",
    "push.keep=100",
)


class Round(NamedTuple):
    """One killed run and the one that resumed it.

    Attributes:
        killed_at: seconds after the start; at the end where the run was faster.
        node: the last line that the killed run printed.
        cached: nodes that the resumed run took from the cache.
        code: exit code of the resumed run.
        seconds: that it took.
        pushed: versions that came in this round.
        broken: versions that the server could not load.
        asked: requests that clients sent.
        failures: those that failed.
        changed: versions whose answer was not always the same.
    """

    killed_at: float
    node: str
    cached: int
    code: int
    seconds: float
    pushed: int
    broken: int
    asked: int
    failures: int
    changed: int

    @property
    def is_good(self) -> bool:
        """Resumed to the end, one or two versions, and no client noticed."""
        return (
            self.code == 0
            and self.pushed >= 1
            and self.asked >= 1
            and not (self.broken or self.failures or self.changed)
        )


class _Questions:
    """One user's list, asked of the server again and again."""

    def __init__(self, client: Client) -> None:
        self.answers: dict[int | None, set[tuple[str, ...]]] = {}
        self.asked = 0
        self.failures = 0
        self._client = client
        self._stop = threading.Event()
        self._beside = ThreadPoolExecutor(1)

    @property
    def changed(self) -> int:
        """Versions with more than one answer."""
        return sum(len(lists) > 1 for lists in list(self.answers.values()))

    def __enter__(self) -> _Questions:
        self._asking = self._beside.submit(self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._beside.shutdown()
        self._asking.result()

    def _ask(self) -> None:
        while not self._stop.wait(_ASK_SECONDS):
            self.asked += 1
            try:
                [ranking] = self._client.recommend(["u1"])
            except DebutError:
                self.failures += 1
            else:
                self.answers.setdefault(ranking.version, set()).add(tuple(ranking.item_ids))


def measure(
    root: Path, settings: Sequence[str], *, kills: int, seed: int, latest: float = 1.0
) -> Iterator[Round]:
    """Push a first version, then kill and resume.

    Args:
        root: an empty folder.
        settings: of every run, as for `--set`.
        kills: how often.
        seed: of the moments.
        latest: moments are drawn up to this share of the first run's time.

    Raises:
        DebutError: the first run fails.
    """
    moments = random.Random(seed)
    settings = (*settings, *_GATES)
    start = time.monotonic()
    first = _start(root, (*settings, "data.split_salt=first"))
    output, _ = first.communicate()
    whole = time.monotonic() - start
    if first.returncode:
        raise DebutError(f"The first run ended with {first.returncode}: {output[-2000:]}")
    with _server(serving_folder(root)) as client, _Questions(client) as questions:
        for number in range(kills):
            yield _round(
                root, (*settings, f"data.split_salt=round-{number}"), client, questions,
                after=moments.uniform(0.0, latest * whole),
            )  # fmt: skip


def _round(
    root: Path, settings: Sequence[str], client: Client, questions: _Questions, *, after: float
) -> Round:
    asked, failures = questions.asked, questions.failures
    before = versions_on_disk(serving_folder(root))
    killed = _start(root, settings)
    start = time.monotonic()
    try:
        output, _ = killed.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(killed.pid, signal.SIGKILL)
        output, _ = killed.communicate()
    killed_at = time.monotonic() - start
    start = time.monotonic()
    resumed = _start(root, settings)
    said, _ = resumed.communicate()
    seconds = time.monotonic() - start
    versions = versions_on_disk(serving_folder(root))
    _wait_until_seen(client, versions[0])
    broken = sum(
        bool(status.error) for status in client.status() if status.version in versions
    )  # fmt: skip
    lines = [line for line in output.splitlines() if line.startswith("[")]
    return Round(
        killed_at=killed_at,
        node=lines[-1].split("]")[1].split()[0] if lines else "before the first node",
        cached=sum(line.endswith("cached") for line in said.splitlines()),
        code=resumed.returncode,
        seconds=seconds,
        pushed=len(versions) - len(before),
        broken=broken,
        asked=questions.asked - asked,
        failures=questions.failures - failures,
        changed=questions.changed,
    )


def _start(root: Path, settings: Sequence[str]) -> subprocess.Popen[str]:
    """`debut run` in a process group of its own, which takes its children along when killed."""
    line = [sys.executable, "-m", "pipeline.cli", "run", "--root", str(root)]
    for setting in settings:
        line += ["--set", setting]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@contextmanager
def _server(base: Path) -> Iterator[Client]:
    labels = str(refresh_labels(base))
    with (
        embedded_server(base, version=versions_on_disk(base)[0], model_config=labels) as server,
        Client(f"127.0.0.1:{server.grpc_port}", timeout=30) as client,
    ):
        yield client


def _wait_until_seen(client: Client, version: int) -> None:
    """Waits until the server has loaded a version, or has failed to."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            states = {status.version: status for status in client.status()}
        except DebutError:  # not listening yet
            states = {}
        if version in states and states[version].state in ("AVAILABLE", "END"):
            return
        time.sleep(0.2)
    raise DebutError(f"A server did not look at version {version} within {_WAIT_SECONDS:g} s.")


def table(rounds: Sequence[Round]) -> Table:
    """The rounds, one a row."""
    shown = Table(title=f"{sum(r.is_good for r in rounds)} of {len(rounds)} rounds ended well")
    for name in ("killed after s", "after node", "exit", "from cache", "resumed in s", "pushed",
                 "broken", "requests", "failed", "changed answers"):  # fmt: skip
        shown.add_column(name, justify="left" if name == "after node" else "right")
    for done in rounds:
        shown.add_row(
            f"{done.killed_at:.1f}", done.node, str(done.code), str(done.cached),
            f"{done.seconds:.1f}", str(done.pushed), str(done.broken), str(done.asked),
            str(done.failures), str(done.changed),
        )  # fmt: skip
    return shown


@click.command()
@click.option("--kills", default=20, show_default=True, type=click.IntRange(1), metavar="N")
@click.option("--seed", default=1, show_default=True, type=int, help="Of the moments.")
def resume(kills: int, seed: int) -> None:
    """Kill runs at random moments, resume them, and watch what a server answers meanwhile."""
    from tests.end_to_end.running import small
    from tests.end_to_end.shop import write_shop
    from tests.tiny_bert import write_tiny_bert

    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="debut-resume-") as scratch:
        place = Path(scratch)
        settings = small(write_shop(place / "shop").folder, write_tiny_bert(place / "bert"))
        rounds = []
        for done in measure(place / "root", settings, kills=kills, seed=seed):
            rounds.append(done)
            console.print(f"round {len(rounds)}: {'well' if done.is_good else 'NOT well'}  {done}")
    console.print(table(rounds))
    if not all(done.is_good for done in rounds):
        raise DebutError("A round did not end well; the table says which.")
