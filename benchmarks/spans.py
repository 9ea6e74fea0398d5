"""Continuous training against training from scratch: what it forgets and gains, and its time."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

if not __package__:
    # Run as a file. Python then looks for modules beside it first, and `serving` is one of them.
    sys.path[0] = str(Path(__file__).parents[1])

import click
import numpy as np

from benchmarks.span_split import BOTH, FIRST, Question, cut
from models.errors import DebutError
from pipeline.commands.console import new_table, open_console, print_table
from pipeline.commands.failures import FailingCommand, debug_option
from pipeline.demo import serving
from pipeline.layout import SAMPLE
from serving.client import Client

AT: Final = 20
SCRATCH: Final = ("continual.start=fresh", "continual.replay=null")
_ALL: Final = 1_000_000  # more than any shelf here holds
_USERS_AT_ONCE: Final = 64
_SAID: Final = 2000  # characters of a failed run's words
_TOOK: Final = re.compile(r"TwoTowerTrainer\s+([\d.]+) s")
_PATH: Final = click.Path(path_type=Path)


class Trained(NamedTuple):
    """What a training came to.

    Attributes:
        seconds: of the Trainer.
        recall: by span, at 20, on the new products of that span.
    """

    seconds: float
    recall: dict[int, float]


@click.command(
    cls=FailingCommand,
    epilog="""\b
Examples:
  python -m benchmarks spans
  python -m benchmarks spans --data shop --seed 11""",
)
@click.option("--data", type=_PATH, default=SAMPLE, help="A data folder  [default: the sample]")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the new products' draw.")
@click.option("--keep", type=_PATH, help="Keep the cut data and the roots in this new folder.")
@debug_option
def spans(data: Path, seed: int, keep: Path | None) -> None:
    """Cut a shop in two by time, and compare going on with training from scratch."""
    console = open_console()
    if keep is not None:
        keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = keep or Path(scratch)
        questions = cut(data, work, seed=seed)
        for span, question in questions.items():
            console.print(
                f"span {span}: {len(question.candidates):,} new products, "
                f"{len(question.wanted):,} users are asked."
            )
        with console.status("Training on span 1"):
            first = train(work / FIRST, work / "root", {1: questions[1]})
        with console.status("Going on with span 2"):
            warm = train(work / BOTH, work / "root", questions)
        with console.status("Training from scratch on both spans"):
            fresh = train(work / BOTH, work / "scratch", questions, SCRATCH)
    table = new_table("training", "recall, span 1", "recall, span 2", "seconds")
    trainings = {"span 1": first, "span 2, going on": warm, "both, from scratch": fresh}
    for name, trained in trainings.items():
        recalls = [trained.recall.get(span) for span in questions]
        shown = ["" if recall is None else f"{recall:.4f}" for recall in recalls]
        table.add_row(name, *shown, f"{trained.seconds:.1f}")
    print_table(console, f"Recall at {AT} on new products, and the Trainer's time", table)
    table = new_table("what", "measured", "asked for")
    table.add_row(
        "span-2 recall, to from scratch", f"{warm.recall[2] / fresh.recall[2]:.3f}", "≥ 0.98"
    )
    table.add_row("span-1 recall, to before", f"{warm.recall[1] / first.recall[1]:.3f}", "≥ 0.98")
    table.add_row("time, to from scratch", f"{warm.seconds / fresh.seconds:.0%}", "≤ 40 %")
    print_table(console, "Going on", table)


def train(
    data: Path, root: Path, questions: dict[int, Question], settings: Sequence[str] = ()
) -> Trained:
    """`debut run` in a process of its own, then ask what it pushed.

    Raises:
        DebutError: it pushed nothing; the message is what it said.
    """
    command = [sys.executable, "-m", "pipeline.cli", "run", f"--data={data}", f"--root={root}"]
    command += [argument for setting in settings for argument in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True)
    took = _TOOK.search(done.stdout)
    if done.returncode or took is None:
        raise DebutError(f"`debut run` on {data} pushed nothing: {done.stderr[-_SAID:]}")
    with serving(root) as client:
        recall = {span: ask(client, question) for span, question in questions.items()}
    return Trained(float(took[1]), recall)


def ask(client: Client, question: Question) -> float:
    """Mean recall over the question's users, among its new products."""
    users = sorted(question.wanted)
    candidates = set(question.candidates)
    recalls: list[float] = []
    for start in range(0, len(users), _USERS_AT_ONCE):
        batch = users[start : start + _USERS_AT_ONCE]
        for user, ranking in zip(
            batch, client.recommend(batch, k=_ALL, new_only=True), strict=True
        ):
            listed = [item for item in ranking.item_ids if item in candidates]
            recalls.append(recall_at(listed, question.wanted[user]))
    return float(np.mean(recalls))


def recall_at(listed: Sequence[str], wanted: set[str]) -> float:
    """Hits among the first 20, by what could be hit."""
    return len(wanted.intersection(listed[:AT])) / min(AT, len(wanted))


if __name__ == "__main__":
    spans()
