"""`--root DIR` of benchmarks: whose newest version is measured."""

from __future__ import annotations

from typing import Any

import click

from pipeline.commands.configuring import PATH

root_option: Any = click.option(
    "--root",
    type=PATH,
    default="runs",
    show_default=True,
    metavar="DIR",
    help="The folder of a run; it is not changed.",
)
"""The function gets `root`."""
