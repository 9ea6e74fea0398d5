"""How time, memory and bytes grow with the data, on shops of 1, 10 and 100 times a size."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from benchmarks.generated_shop import Size, write_shop
from benchmarks.load import grpc_client, measure
from benchmarks.serving import embedded_server, list_requests
from benchmarks.stage import INDEX, Stage, in_a_process
from pipeline.beam_profiles import PROFILES
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import serving_folder
from pipeline.newest import newest_version

ONCE: Final = Size(rows=10_000, users=500, items=200)
# In order, each with what its rows are.
BEAM_STAGES: Final = {
    "DataFolderExampleGen": "rows",
    "StatisticsCatalogue": "items",
    "StatisticsInteractions": "rows",
    "TransformCatalogue": "items",
    "TransformInteractions": "rows",
}
OTHER_STAGES: Final = {
    "TwoTowerTrainer": "rows",
    "Evaluator": "rows",
    "EmbeddedInfraValidator": "items",
    "AtomicPusher": "items",
    INDEX: "items",
}
_CALLS: Final = 300
_WARM_UP: Final = 30
_MOST_SECONDS: Final = 30.0
_MB: Final = 1e6
_MIB: Final = 2**20


class Measured(NamedTuple):
    """The stages of one size."""

    size: Size
    stages: Mapping[str, Stage]

    def rows(self, stage: str) -> int:
        """Interactions, or items in the catalogue's lane."""
        return self.size.rows if (BEAM_STAGES | OTHER_STAGES)[stage] == "rows" else self.size.items


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks scale
  python -m benchmarks scale --times 100 --steps 0 \\
    --beam-runner direct --beam-runner multi_process""",
)
@click.option(
    "--times", type=click.IntRange(1), multiple=True, default=(1, 10, 100), show_default=True,
    help="Sizes, in multiples of 10,000 interactions; rising.",
)  # fmt: skip
@click.option(
    "--beam-runner", "runners", type=click.Choice(list(PROFILES)), multiple=True,
    default=("direct",), show_default=True,
    help="The first runs everything, the others the Beam stages before training.",
)  # fmt: skip
@click.option("--beam-arg", "flags", multiple=True, help="Of every runner, as in run.beam_args.")
@click.option("--steps", default=50, show_default=True, help="Of training; 0 stops before it.")
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
def scale(
    times: tuple[int, ...],
    runners: tuple[str, ...],
    flags: tuple[str, ...],
    steps: int,
    encoder: str,
) -> None:
    """Time, memory and bytes of each stage on generated shops of several sizes."""
    console = open_console()
    found: dict[str, list[Measured]] = {runner: [] for runner in runners}
    for size in map(ONCE.times, times):
        with tempfile.TemporaryDirectory(prefix="debut-scale-") as scratch:
            shop = Path(scratch) / "shop"
            write_shop(shop, size)
            for runner in runners:
                stages = BEAM_STAGES | (OTHER_STAGES if steps and runner == runners[0] else {})
                settings = _settings(shop, runner, flags, steps=steps, encoder=encoder)
                root = Path(scratch) / runner
                title = (
                    f"{runner}: {size.rows:,} interactions of {size.users:,} users with "
                    f"{size.items:,} items, {_size(shop) / _MB:.1f} MB"
                )
                measured = Measured(size, _stages(console, title, root, stages, settings))
                found[runner].append(measured)
                print_table(console, title, _table(measured))
                if INDEX in stages:
                    _report_answers(console, serving_folder(root))
    for runner, sizes in found.items():
        for before, now in itertools.pairwise(sizes):
            title = f"{runner}: from {before.size.rows:,} to {now.size.rows:,} interactions"
            print_table(console, title, _growth_table(before, now))
    if len(runners) > 1:
        print_table(console, "Beam stages before training, together", _runners_table(found))


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
    console: Console, title: str, root: Path, stages: Collection[str], settings: Sequence[str]
) -> dict[str, Stage]:
    """Each stage in its turn; a line tells what is done, for the whole takes many minutes."""
    found = {}
    for number, stage in enumerate(stages, 1):
        with console.status(f"{title}: {stage}"):
            taken = found[stage] = in_a_process(root, stage, settings)
        console.print(
            f"[{number:2d}/{len(stages)}] {stage:<24} {taken.seconds:8.1f} s "
            f"{taken.processor:8.1f} CPU s {_own(taken):8,.0f} MiB"
        )
    return found


def _table(measured: Measured) -> Table:
    table = new_table("stage", "s", "CPU s", "rows/s", "MiB", "own", "worker", "MB", "B/row")
    for name, stage in measured.stages.items():
        rows = measured.rows(name)
        table.add_row(
            name,
            f"{stage.seconds:.1f}",
            f"{stage.processor:.1f}",
            f"{rows / max(stage.seconds, 1e-3):,.0f}",
            *(f"{mib:,.0f}" for mib in (stage.peak, stage.peak - stage.before, stage.worker)),
            f"{stage.written / _MB:,.1f}",
            f"{stage.written / rows:,.0f}",
        )
    return table


def _growth_table(before: Measured, now: Measured) -> Table:
    table = new_table("stage", "CPU x", "own x", "CPU µs/row", "own B/row", "written B/row")
    for name, stage in now.stages.items():
        shares = growth(before.stages[name], stage, now.rows(name) / before.rows(name))
        cost = per_row(before, now, name)
        table.add_row(
            name,
            *(f"{share:.2f}" for share in shares),
            *(f"{number:,.0f}" for number in (cost.processor * 1e6, cost.memory, cost.written)),
        )
    return table


def _runners_table(found: Mapping[str, Sequence[Measured]]) -> Table:
    table = new_table(
        "interactions", *(f"{runner}, s" for runner in found), "ratios", numbers_from=0
    )
    for sizes in zip(*found.values(), strict=True):
        seconds = [sum(one.stages[stage].seconds for stage in BEAM_STAGES) for one in sizes]
        table.add_row(
            f"{sizes[0].size.rows:,}",
            *(f"{taken:.1f}" for taken in seconds),
            " ".join(f"{seconds[0] / taken:.2f}" for taken in seconds[1:]),
        )
    return table


def growth(before: Stage, now: Stage, factor: float) -> tuple[float, float]:
    """By how much processor time and memory of a row grew; 1 where they grew as the rows did.

    Args:
        before: the stage on fewer rows.
        now: the same on more.
        factor: how many times as many.
    """
    time = now.processor / max(before.processor, 1e-3)
    return time / factor, _own(now) / max(_own(before), 1.0) / factor


class Cost(NamedTuple):
    """What a row more takes: processor seconds, bytes of memory, bytes written."""

    processor: float
    memory: float
    written: float


def per_row(before: Measured, now: Measured, name: str) -> Cost:
    """What each row took that `now` has more, without what a stage takes at any size."""
    small, large = before.stages[name], now.stages[name]
    more = now.rows(name) - before.rows(name)
    return Cost(
        processor=(large.processor - small.processor) / more,
        memory=(_own(large) - _own(small)) * _MIB / more,
        written=(large.written - small.written) / more,
    )


def _own(stage: Stage) -> float:
    """MiB beside the program's own."""
    return stage.peak - stage.before


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
