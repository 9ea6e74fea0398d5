"""`python -m benchmarks`: the list of benchmarks; `make bench` runs all of them."""

from __future__ import annotations

import click

from benchmarks.ablation import ablation
from benchmarks.bandit import bandit
from benchmarks.index import index
from benchmarks.items import items
from benchmarks.quality import quality
from benchmarks.resume import resume
from benchmarks.serving import serving
from benchmarks.spans import spans
from benchmarks.training import training
from benchmarks.trust import trust


@click.group(invoke_without_command=True)
@click.pass_context
def benchmarks(context: click.Context) -> None:
    """Measure speed, memory and quality; without a command, what takes less than an hour."""
    if context.invoked_subcommand is None:
        for command in _TOGETHER:
            context.invoke(command)


_TOGETHER = (serving, training, quality, items)
for _command in (*_TOGETHER, ablation, bandit, index, resume, spans, trust):
    benchmarks.add_command(_command)

if __name__ == "__main__":
    benchmarks()
