"""Continuous training against training from scratch: what it forgets and gains, and its time.

Ingestion and Transform run as nodes of the pipeline. Training is the Trainer's own `run_fn`, each
time in a process of its own; gates and push are left out.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.new_folder import NEW_FOLDER
from benchmarks.span_split import BOTH, FIRST, Question, cut
from benchmarks.transformed import transformed
from models.options import OPTIONS
from models.trainer import run_fn
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import load_configuration
from pipeline.layout import SAMPLE
from pipeline.pipeline import training_options

AT: Final = 20
SCRATCH: Final = ("continual.start=fresh", "continual.replay=null")
_ALL: Final = 1_000_000  # more than any shelf here holds
_USERS_AT_ONCE: Final = 64

Ask = Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[str]]]


class Trained(NamedTuple):
    """What a training came to.

    Attributes:
        seconds: of the Trainer.
        processor: seconds of all cores, which other programs of the machine disturb less.
        recall: by span, at 20, on the new products of that span.
    """

    seconds: float
    processor: float
    recall: dict[int, float]


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks spans
  python -m benchmarks spans --data shop --seed 11""",
)
@click.option("--data", type=PATH, default=SAMPLE, help="A data folder  [default: the sample]")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the new products' draw.")
@click.option(
    "--keep", type=NEW_FOLDER, help="Keep the cut data and the models in this new folder."
)
@click.option("--set", "settings", multiple=True, help="An option of all trainings. Repeatable.")
def spans(data: Path, seed: int, keep: Path | None, settings: tuple[str, ...]) -> None:
    """Cut a shop in two by time, and compare going on with training from scratch."""
    console = open_console()
    with tempfile.TemporaryDirectory() as scratch:
        work = keep or Path(scratch)
        questions = cut(data, work, seed=seed)
        for span, question in questions.items():
            console.print(
                f"span {span}: {len(question.candidates):,} new products, "
                f"{len(question.wanted):,} users are asked."
            )
        arguments = {
            name: transformed(
                load_configuration(None, settings, data=work / name),
                work / f"root-{name}",
            )
            for name in (FIRST, BOTH)
        }
        first, warm, fresh = (work / name for name in ("model-1", "model-2", "scratch"))
        found = {
            "span 1": _apart(arguments[FIRST], first, None, settings, {1: questions[1]}),
            "span 2, going on": _apart(arguments[BOTH], warm, first, settings, questions),
            "both, from scratch": _apart(
                arguments[BOTH], fresh, None, (*SCRATCH, *settings), questions
            ),
        }
    _print(console, found)


def train(
    arguments: FnArgs,
    out: Path,
    base: Path | None,
    settings: Sequence[str],
    questions: Mapping[int, Question],
) -> Trained:
    """Train as the Trainer does, then ask what it saved.

    Args:
        arguments: what ingestion and Transform made.
        out: made, for the model.
        base: `out` of the training to go on from.
        settings: of the configuration.
        questions: by span.
    """
    options = training_options(load_configuration(None, settings)).model_dump(mode="json")
    given: dict[str, Any] = arguments.custom_config | {OPTIONS: options}
    model = _served(out)
    start, processor = time.perf_counter(), time.process_time()
    run_fn(
        FnArgs(
            transform_graph_path=arguments.transform_graph_path,
            serving_model_dir=str(model),
            model_run_dir=str(out / "run"),
            base_model=None if base is None else str(_served(base)),
            custom_config=given,
        )
    )
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    recommend = tf.saved_model.load(str(model)).signatures["recommend"]

    def lists(users: Sequence[str], history: Sequence[Sequence[str]]) -> list[list[str]]:
        answer = recommend(
            user_id=tf.constant(list(users)), history=tf.ragged.constant(history).to_tensor(""),
            profile=tf.fill([len(users)], ""), k=tf.constant(_ALL), new_only=tf.constant(True),
        )  # fmt: skip
        return [[item.decode() for item in row] for row in answer["item_id"].numpy()]

    recall = {span: mean_recall(lists, question) for span, question in questions.items()}
    return Trained(seconds, processor, recall)


def mean_recall(lists: Ask, question: Question) -> float:
    """Over the question's users, among its new products; by what could be hit.

    Args:
        lists: all new items for each user of a batch with their histories, best first.
        question: who wanted what.
    """
    users = sorted(question.wanted)
    candidates = set(question.candidates)
    recalls = []
    for start in range(0, len(users), _USERS_AT_ONCE):
        batch = users[start : start + _USERS_AT_ONCE]
        for user, ranked in zip(
            batch, lists(batch, [question.history[user] for user in batch]), strict=True
        ):
            listed = [item for item in ranked if item in candidates][:AT]
            wanted = question.wanted[user]
            recalls.append(len(wanted.intersection(listed)) / min(AT, len(wanted)))
    return float(np.mean(recalls))


def _apart(*given: Any) -> Trained:
    """`train` in a process of its own, so that no training profits from an earlier one's traces."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train, *given).result()


def _served(out: Path) -> Path:
    return out / "Format-Serving"


def _print(console: Any, found: Mapping[str, Trained]) -> None:
    table = new_table("training", "recall, span 1", "recall, span 2", "seconds", "processor s")
    for name, trained in found.items():
        recalls = [trained.recall.get(span) for span in (1, 2)]
        shown = ["" if recall is None else f"{recall:.4f}" for recall in recalls]
        table.add_row(name, *shown, f"{trained.seconds:.1f}", f"{trained.processor:.1f}")
    print_table(
        console, f"Recall at {AT} on each span's new products, and the Trainer's time", table
    )
    first, warm, fresh = found.values()
    table = new_table("going on, against", "measured", "asked for")
    table.add_row(
        "recall, span 2, from scratch", f"{warm.recall[2] / fresh.recall[2]:.3f}", "≥ 0.98"
    )
    table.add_row("recall, span 1, before", f"{warm.recall[1] / first.recall[1]:.3f}", "≥ 0.98")
    table.add_row("seconds, from scratch", f"{warm.seconds / fresh.seconds:.1%}", "≤ 40 %")
    table.add_row("processor s, from scratch", f"{warm.processor / fresh.processor:.1%}", "")
    print_table(console, "Going on with span 2", table)
