"""`python -m benchmarks`: the list of benchmarks; `make bench` runs all of them."""

from __future__ import annotations

import click

from benchmarks.ablation import ablation
from benchmarks.items import items
from benchmarks.quality import quality
from benchmarks.resume import resume
from benchmarks.serving import serving
from benchmarks.spans import spans
from benchmarks.training import training


@click.group(invoke_without_command=True)
@click.pass_context
def benchmarks(context: click.Context) -> None:
    """Measure speed, memory and quality; without a command, all of it."""
    if context.invoked_subcommand is None:
        for command in benchmarks.commands.values():
            context.invoke(command)


benchmarks.add_command(serving)
benchmarks.add_command(training)
benchmarks.add_command(quality)
benchmarks.add_command(items)
benchmarks.add_command(ablation)
benchmarks.add_command(resume)
benchmarks.add_command(spans)

if __name__ == "__main__":
    benchmarks()
