"""How time, memory and bytes grow with the data, on shops of 1, 10 and 100 times a size."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.generated_shop import Size, write_shop
from benchmarks.load import grpc_client, measure
from benchmarks.serving import embedded_server, list_requests
from benchmarks.stage import Stage, in_a_process
from pipeline.beam_profiles import PROFILES
from pipeline.commands.console import new_table, open_console, print_table
from pipeline.commands.failures import FailingCommand, debug_option
from pipeline.layout import serving_folder
from pipeline.pushed import newest_version

ONCE: Final = Size(rows=10_000, users=500, items=200)
# In order, each with what its rows are.
BEAM_NODES: Final = {
    "DataFolderExampleGen": "rows",
    "StatisticsCatalogue": "items",
    "StatisticsInteractions": "rows",
    "TransformCatalogue": "items",
    "TransformInteractions": "rows",
}
OTHER_NODES: Final = {
    "TwoTowerTrainer": "rows",
    "Evaluator": "rows",
    "EmbeddedInfraValidator": "items",
    "AtomicPusher": "items",
}
_CALLS: Final = 300
_WARM_UP: Final = 30
_MOST_SECONDS: Final = 30.0
_MB: Final = 1e6


@click.command(
    cls=FailingCommand,
    epilog="""\b
Examples:
  python -m benchmarks scale
  python -m benchmarks scale --times 100 --beam-runner direct --beam-runner multi_process""",
)
@click.option(
    "--times", type=click.IntRange(1), multiple=True, default=(1, 10, 100), show_default=True,
    help="Sizes, in multiples of 10,000 interactions.",
)  # fmt: skip
@click.option(
    "--beam-runner", "runners", type=click.Choice(list(PROFILES)), multiple=True,
    default=("direct",), show_default=True,
    help="The first runs everything, the others the Beam stages before training.",
)  # fmt: skip
@click.option("--beam-arg", "flags", multiple=True, help="Of every runner, as in run.beam_args.")
@click.option("--steps", default=50, show_default=True, help="Of training; 0 stops before it.")
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@debug_option
def scale(
    times: tuple[int, ...],
    runners: tuple[str, ...],
    flags: tuple[str, ...],
    steps: int,
    encoder: str,
) -> None:
    """Time, memory and bytes of each stage on generated shops of several sizes."""
    console = open_console()
    for runner in runners:
        nodes = BEAM_NODES | (OTHER_NODES if steps and runner == runners[0] else {})
        before: dict[str, Stage] = {}
        for number, factor in enumerate(times):
            size = ONCE.times(factor)
            with tempfile.TemporaryDirectory(prefix="debut-scale-") as scratch:
                folder = Path(scratch)
                with console.status(f"Generating {size.rows:,} interactions"):
                    write_shop(folder / "shop", size)
                settings = _settings(folder / "shop", runner, flags, steps=steps, encoder=encoder)
                found = _stages(console, folder / "root", nodes, settings)
                title = (
                    f"{runner}: {size.rows:,} interactions of {size.users:,} users with "
                    f"{size.items:,} items, {_size(folder / 'shop') / _MB:.1f} MB"
                )
                grown = factor / times[number - 1] if number else None
                print_table(console, title, _table(size, nodes, found, before, grown))
                if "AtomicPusher" in nodes:
                    _report_answers(console, serving_folder(folder / "root"))
                before = found


def _settings(
    data: Path, runner: str, flags: Sequence[str], *, steps: int, encoder: str
) -> list[str]:
    return [
        f"data.path={data}",
        f"run.beam_runner={runner}",
        f"run.beam_args={json.dumps(list(flags))}",
        f"encoder.name={encoder}",
        f"training.steps={steps}",
        f"training.patience={max(steps, 1)}",
        # What is measured is not how well made-up tastes can be told.
        "gates.model=[{metric: squared_error, slice: overall, direction: lower, bound: 1, "
        "tolerance: 1}]",
    ]


def _stages(
    console: Console, root: Path, nodes: dict[str, str], settings: Sequence[str]
) -> dict[str, Stage]:
    found = {}
    for node in nodes:
        with console.status(node):
            found[node] = in_a_process(root, node, settings)
    return found


def _table(
    size: Size,
    nodes: dict[str, str],
    found: dict[str, Stage],
    before: dict[str, Stage],
    grown: float | None,
) -> Table:
    table = new_table(
        "stage", "s", "CPU s", "rows/s", "MiB", "own", "worker", "MB", "B/row", "CPU×", "own×"
    )  # fmt: skip
    for node, stage in found.items():
        rows = size.rows if nodes[node] == "rows" else size.items
        shares = growth(before[node], stage, grown) if grown is not None else ()
        numbers = (
            rows / stage.seconds, stage.peak, stage.peak - stage.before, stage.worker,
            stage.written / _MB, stage.written / rows,
        )  # fmt: skip
        table.add_row(
            node,
            f"{stage.seconds:.1f}",
            f"{stage.processor:.1f}",
            *(f"{number:,.0f}" for number in numbers),
            *(f"{share:.2f}" for share in shares),
        )
    return table


def growth(before: Stage, now: Stage, factor: float) -> tuple[float, float]:
    """By how much processor time and memory of a row grew; 1 where they grew as the rows did.

    Args:
        before: the stage on fewer rows.
        now: the same on more.
        factor: how many times as many.
    """
    time = now.processor / before.processor
    memory = (now.peak - now.before) / max(before.peak - before.before, 1.0)
    return time / factor, memory / factor


def _report_answers(console: Console, serving: Path) -> None:
    """Memory of a server of the pushed version, and milliseconds of its answers."""
    version = newest_version(serving)
    requests = list_requests(version)
    with (
        embedded_server(serving, version=int(version.name)) as server,
        grpc_client(server.grpc_port, requests) as ask,
    ):
        taken = measure(ask, calls=_CALLS, warm_up=_WARM_UP, most_seconds=_MOST_SECONDS)
        console.print(
            f"Served: {_size(version) / _MB:,.0f} MB on disk, {server.resident_mib():,.0f} MiB "
            f"resident; recommend over gRPC {taken.median:.1f} ms median, {taken.p99:.1f} ms p99."
        )


def _size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    )
