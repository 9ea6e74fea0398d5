"""`debut`: the command line. What each command does stands in `pipeline.commands`."""

from __future__ import annotations

import click

from pipeline.commands.audience import audience
from pipeline.commands.compile import compile_
from pipeline.commands.console import console
from pipeline.commands.doctor import doctor
from pipeline.commands.explain import explain
from pipeline.commands.explore import explore
from pipeline.commands.failures import FailingGroup, debug_option
from pipeline.commands.feedback import feedback
from pipeline.commands.index import index
from pipeline.commands.items import items
from pipeline.commands.label_plan import label_plan
from pipeline.commands.recommend import recommend
from pipeline.commands.rollback import promote, rollback
from pipeline.commands.run import run
from pipeline.commands.score import score
from pipeline.commands.serve import serve
from pipeline.commands.versions import versions


@click.group(
    cls=FailingGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Example:
  debut run --data shop --root runs
  debut serve --root runs
  debut recommend --user 12347 --new-only

Commands end with 0, or 2 for bad input, 3 where a gate refused, 4 where no server answers, 130
after Ctrl-C, and 1 for anything else.""",
)
@click.version_option(package_name="debut")
@debug_option
def main() -> None:
    """Recommend products on the day they appear."""


for _command in (
    run, compile_, serve, items, index, explore, versions, rollback, promote, feedback, recommend,
    score, explain, audience, console, label_plan, doctor,
):  # fmt: skip
    main.add_command(_command)

if __name__ == "__main__":
    main()
