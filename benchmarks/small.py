"""Small encoders side by side: size, speed, memory, and what they cost new items.

Ingestion and Transform run once, and the full encoder reads the catalogue once. Then each row makes
its encoder of that one, prepares and exports as the Trainer does. The towers stay as they start:
what new items inherit does not depend on them.

python -m benchmarks small
"""

from __future__ import annotations

import tempfile
import time
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
import tensorflow_transform as tft
from rich.console import Console
from rich.table import Table
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.held_out import held_out
from benchmarks.loaded import Loaded, measure_loaded
from benchmarks.transformed import transformed
from models.compression.compress import weight_bytes
from models.encoded import Encoded
from models.encoders.encoder import SentenceEncoder
from models.encoders.reading import encode
from models.export.saving import export
from models.few_shot.clock import ShopClock
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.options import BEAM_ARGS, CATALOGUE_GRAPH_PATH, TrainerOptions
from models.preparation import Prepared, simulated_launches
from models.shop_data import ShopData
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import load_configuration
from pipeline.pipeline import training_options

# Settings of each row beside the defaults; the first one is what the others are compared with.
ROWS: Final[dict[str, tuple[str, ...]]] = {
    "encoder": (),
    "student, one layer": ("compression.student=layers",),
    "student, static": ("compression.student=static",),
    "int8": ("compression.weights=int8",),
    "pruned by 30 %": ("compression.pruned_share=0.3",),
    "pruned by 50 %": ("compression.pruned_share=0.5",),
    "one layer, int8": ("compression.student=layers", "compression.weights=int8"),
    "static, int8": ("compression.student=static", "compression.weights=int8"),
}
_ROUNDS: Final = 5
_TEXTS: Final = 1024  # of the catalogue, for the speed
_MEBI: Final = 1 << 20


class Measured(NamedTuple):
    """What a row came to.

    Attributes:
        weights: of the encoder, bytes.
        packed: the same, deflated.
        model: bytes of the served model, without what is beside it for `debut items add`.
        texts: that the encoder reads per second; 0 until all are made.
        loaded: memory and latency.
        recall: recall@20 on held-out new items.
    """

    weights: int
    packed: int
    model: int
    texts: float
    loaded: Loaded
    recall: float


@click.command()
@click.option("--data", type=PATH, help="Data folder instead of the sample.")
@click.option("--root", type=PATH, help="Keep what Transform made in there.")
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Rows to measure.")
@click.option("--set", "settings", multiple=True, help="Of all rows: section.key=value.")
def small(
    data: Path | None, root: Path | None, only: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    """Make the encoder small in several ways and compare."""
    console = open_console()
    configs = {
        name: load_configuration(None, [*settings, *ROWS[name]], data=data) for name in only or ROWS
    }
    with tempfile.TemporaryDirectory() as scratch:
        shared = load_configuration(None, settings, data=data)
        arguments = transformed(shared, Path(root or scratch))
        options = {name: training_options(config) for name, config in configs.items()}
        measured = measure_small(arguments, options, Path(scratch), console)
    print_table(console, "Small encoders, on held-out new items", _table(measured))


def measure_small(
    arguments: FnArgs, options: dict[str, TrainerOptions], scratch: Path, console: Console
) -> dict[str, Measured]:
    """Make, export and measure each row."""
    first = next(iter(options.values()))
    data = ShopData.read(arguments, first.history_length)
    shared = simulated_launches(data, first)
    frozen = Encoded.frozen(data, first)
    launch = held_out(data, first)
    measured: dict[str, Measured] = {}
    encoders: dict[str, SentenceEncoder] = {}
    for number, (name, row) in enumerate(options.items()):
        with console.status(name):
            encoded = frozen.compressed(data, row) if row.compression.is_on else frozen
            prepared = Prepared.from_encoded(encoded, data, *shared, row, lambda *_: None)
            folder = scratch / str(number)
            _export(folder, arguments, data, prepared, row)
            encoder = encoders[name] = encoded.encoders.item
            asked = launch.small() if row.compression.is_in_8_bits else launch
            aligned = AlignedLaunch.align(asked, prepared.view, prepared.settings)
            measured[name] = Measured(
                weights=weight_bytes(encoder),
                packed=_packed(encoder),
                model=_bytes(folder),
                texts=0.0,
                loaded=measure_loaded(folder),
                recall=aligned.quality()["recall"],
            )
        console.print(f"{name}: {measured[name]}", highlight=False, soft_wrap=True)
    with console.status("Speed"):
        speeds = _texts_per_second(encoders, data)
    return {name: row._replace(texts=speeds[name]) for name, row in measured.items()}


def _export(
    folder: Path, arguments: FnArgs, data: ShopData, prepared: Prepared, options: TrainerOptions
) -> None:
    times = np.concatenate([part.timestamp for part in data.splits.values()])
    export(
        str(folder), data, prepared, prepared.towers(options), options, ShopClock.of(times),
        EvidenceWeights.none(), None,
        catalogue_graph=tft.TFTransformOutput(arguments.custom_config[CATALOGUE_GRAPH_PATH]),
        beam_args=arguments.custom_config[BEAM_ARGS],
    )  # fmt: skip


def _packed(encoder: SentenceEncoder) -> int:
    """Bytes of the weights, deflated as an archive or a registry's layer does."""
    packer = zlib.compressobj(6)
    size = sum(len(packer.compress(v.numpy().tobytes())) for v in encoder.variables)
    return size + len(packer.flush())


def _bytes(model: Path) -> int:
    files = [file for file in model.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if "assets.extra" not in file.parts)


def _texts_per_second(encoders: dict[str, SentenceEncoder], data: ShopData) -> dict[str, float]:
    """Of the catalogue's. Encoders take turns, and the best counts: other work disturbs."""
    tokens = data.table.tokens[:_TEXTS]
    best = dict.fromkeys(encoders, 0.0)
    for _ in range(_ROUNDS):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encode(encoder, tokens)
            best[name] = max(best[name], len(tokens) / (time.perf_counter() - start))
    return best


def _table(measured: dict[str, Measured]) -> Table:
    table = new_table(
        "encoder", "weights, MiB", "packed", "whole model", "texts/s", "ms a title", "memory, MiB",
        "recall@20", "of full",
    )  # fmt: skip
    full = next(iter(measured.values()))
    for name, row in measured.items():
        table.add_row(
            name,
            f"{row.weights / _MEBI:.1f}",
            f"{row.packed / _MEBI:.1f}",
            f"{row.model / _MEBI:.1f}",
            f"{row.texts:,.0f}",
            f"{row.loaded.milliseconds:.2f}",
            f"{row.loaded.mebibytes:,.0f}",
            f"{row.recall:.4f}",
            f"{row.recall / full.recall:.3f}",
        )
    return table
