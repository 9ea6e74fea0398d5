"""Options that commands share: the root, and a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

root_option: Any = click.option(
    "--root",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder that `debut run` was given.",
)
"""The function gets `root`."""


def configuration_options(function: Decorated) -> Decorated:
    """Adds `--config` and `--set`: the function gets `config`, and `settings` of `KEY=VALUE`."""
    for option in (
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="One option, over the file. Repeatable.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="YAML with the options that differ.",
        ),
    ):
        function = option(function)
    return function
