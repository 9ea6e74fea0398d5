"""The list of benchmarks."""

from __future__ import annotations

import click

from benchmarks.ablation import ablation
from benchmarks.audience import audience
from benchmarks.bandit import bandit
from benchmarks.console import console
from benchmarks.exposure import exposure
from benchmarks.few_shot import few_shot
from benchmarks.index import index
from benchmarks.items import items
from benchmarks.labels import labels
from benchmarks.languages import languages
from benchmarks.propensities import propensities
from benchmarks.quality import quality
from benchmarks.resume import resume
from benchmarks.scale import scale
from benchmarks.serving import serving
from benchmarks.small import small
from benchmarks.spans import spans
from benchmarks.training import training
from benchmarks.trust import trust
from benchmarks.wording import wording
from pipeline.commands.failures import FailingGroup, debug_option


@click.group(cls=FailingGroup, invoke_without_command=True)
@debug_option
@click.pass_context
def benchmarks(context: click.Context) -> None:
    """Measure speed, memory and quality; without a command, what takes less than an hour."""
    if context.invoked_subcommand is None:
        for command in _TOGETHER:
            context.invoke(command)


_TOGETHER = (serving, training, quality, items)
_ALONE = (
    ablation, audience, bandit, console, exposure, few_shot, index, labels, languages,
    propensities, resume, scale, small, spans, trust, wording,
)  # fmt: skip
for _command in (*_TOGETHER, *_ALONE):
    benchmarks.add_command(debug_option(_command))
