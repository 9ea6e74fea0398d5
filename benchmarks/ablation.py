"""What each option of training is worth on a data folder: one row an option, one table.

Ingestion and Transform run once, as nodes of the pipeline. Then each row prepares and trains as the
Trainer does, with one option changed, and is measured on the held-out new items: no closed form and
no gradient has seen an interaction of theirs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import tf_keras
from rich.console import Console
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.held_out import held_out
from benchmarks.transformed import transformed
from models import features
from models.encoded import Encoded
from models.inheritance.aligned_launch import AlignedLaunch
from models.options import RatingOptions, TrainerOptions
from models.preparation import Prepared, simulated_launches
from models.record import FineTuned
from models.replay import sampled_rows
from models.shop_data import ShopData
from models.training import Trainer
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import Configuration, load_configuration
from pipeline.pipeline import training_options

_TUNED: Final = ("encoder.trainable_layers=2",)
_FEW: Final = ("encoder.trainable_layers=-1", "finetuning.learning_rate=0.0005")
# Settings of each row beside the defaults.
ROWS: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "rating head: MLP": ("rating.head=mlp",),
    "rating head: CNN": ("rating.head=cnn",),
    "rating head: RNN": ("rating.head=rnn",),
    "fine-tuning: top 2 layers": _TUNED,
    "fine-tuning: all weights": ("encoder.trainable_layers=-1",),
    "BitFit": (*_FEW, "encoder.adaptation=bitfit"),
    "LoRA": (*_FEW, "encoder.adaptation=lora"),
    "adapters": (*_FEW, "encoder.adaptation=adapter"),
    "prefix tuning": (*_FEW, "encoder.adaptation=prefix"),
    "top 2 layers, adversarial": (*_TUNED, "finetuning.adversarial_epsilon=1.0"),
    "top 2 layers, word dropout": (*_TUNED, "finetuning.token_dropout=0.15"),
    "top 2 layers, weight average": (*_TUNED, "finetuning.ema_momentum=0.95"),
    "top 2 layers, pre-training": (*_TUNED, "pretraining.steps=60"),
    "top 2 layers, self-training": (*_TUNED, "finetuning.self_training_pairs=20000"),
}


class Measured(NamedTuple):
    """What a row's training came to."""

    fine_tuned: FineTuned | None
    parameters: int
    recall: float
    squared_error: float
    seconds: float  # of the processors


@click.command()
@click.option("--data", type=PATH, help="Data folder instead of the sample.")
@click.option("--root", type=PATH, help="Keep what Transform made in there.")
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Rows to measure.")
@click.option("--config", type=PATH, help="Configuration of all rows.")
@click.option("--set", "settings", multiple=True, help="The same: section.key=value.")
def ablation(
    data: Path | None,
    root: Path | None,
    only: tuple[str, ...],
    config: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train once for each option of training and compare."""
    console = open_console()
    configs = {
        name: load_configuration(config, [*settings, *ROWS[name]], data=data)
        for name in only or ROWS
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(root or scratch)
        arguments = transformed(load_configuration(config, settings, data=data), folder)
        measured = measure(arguments, configs, console)
    print_table(console, "Options of training, on held-out new items", _table(measured))


def measure(
    arguments: FnArgs, configs: dict[str, Configuration], console: Console
) -> dict[str, Measured]:
    """Train for each configuration.

    What rows have in common is done once: reading, launches, the frozen encoder. Seconds are the
    processors', those that a training of its own would take.
    """
    measured: dict[str, Measured] = {}
    bench: _Bench | None = None
    for name, config in configs.items():
        options = training_options(config)
        bench = bench or _Bench(arguments, options)
        measured[name] = bench(options)
        console.print(f"{name}: {measured[name]}", highlight=False, soft_wrap=True)
    return measured


class _Bench:
    """One data folder, prepared for a frozen encoder."""

    def __init__(self, arguments: FnArgs, options: TrainerOptions) -> None:
        start = time.process_time()
        self._data = ShopData.read(arguments, options.history_length)
        self._launches = simulated_launches(self._data, options)
        self._frozen = Encoded.frozen(self._data, options)
        self._held_out = held_out(self._data, options)
        self._prepared = self._prepare(self._frozen, options)
        self._seconds = time.process_time() - start
        self._known: dict[RatingOptions, Measured] = {}

    def __call__(self, options: TrainerOptions) -> Measured:
        """Measure one row."""
        start = time.process_time()
        if not options.encoder.trainable_layers:
            return self._with_frozen(options)
        encoded = self._frozen.fine_tuned_where_better(
            self._data, self._launches[1], options, sampled_rows(self._data, options, None)
        )
        seconds = time.process_time() - start
        if encoded.text is self._frozen.text:  # what follows is the same as without fine-tuning
            found = self._with_frozen(options)
        else:
            found = self._trained(self._prepare(encoded, options), options)
        return found._replace(fine_tuned=encoded.outcome, seconds=found.seconds + seconds)

    def _with_frozen(self, options: TrainerOptions) -> Measured:
        if options.rating not in self._known:
            found = self._trained(self._prepared, options)
            found = found._replace(seconds=found.seconds + self._seconds)
            self._known[options.rating] = found
        return self._known[options.rating]

    def _trained(self, prepared: Prepared, options: TrainerOptions) -> Measured:
        start = time.process_time()
        tf_keras.utils.set_random_seed(options.training.seed)
        model = prepared.towers(options)
        trainer = Trainer(model, prepared.inputs, options.training)
        trainer.run(prepared.folds, lambda step, values: None)
        seconds = time.process_time() - start
        launch = AlignedLaunch.align(self._held_out, prepared.view, prepared.settings)
        errors = trainer.squared_error(self._data.splits[features.NEW_ITEMS])
        return Measured(
            fine_tuned=None,
            parameters=model.parameters,
            recall=launch.quality()["recall"],
            squared_error=errors.get("squared_error", float("nan")),
            seconds=seconds,
        )

    def _prepare(self, encoded: Encoded, options: TrainerOptions) -> Prepared:
        return Prepared.from_encoded(
            encoded, self._data, *self._launches, options, lambda settings, recall: None
        )


def _table(measured: dict[str, Measured]) -> Any:
    table = new_table(
        "option", "trainable weights", "recall@20 of a launch", "kept", "recall@20", "MSE",
        "CPU s",
    )  # fmt: skip
    for name, row in measured.items():
        tuned = row.fine_tuned
        weights = row.parameters + (tuned.trainable if tuned else 0)
        table.add_row(
            name,
            f"{weights:,}",
            f"{tuned.before:.3f} → {tuned.after:.3f} ± {tuned.error:.3f}" if tuned else "",
            ("yes" if tuned.kept else "no") if tuned else "",
            f"{row.recall:.3f}",
            f"{row.squared_error:.4f}",
            f"{row.seconds:.0f}",
        )
    return table
