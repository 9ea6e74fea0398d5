"""Options that commands share: the root, a configuration, and a reason to override a gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from models.errors import BadInput

PATH: Final = click.Path(path_type=Path)
"""A flag's file or folder, there or not, as a `Path`."""
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

root_option: Any = click.option(
    "--root",
    type=PATH,
    required=True,
    metavar="DIR",
    help="The folder that `debut run` was given.",
)
"""The function gets `root`."""


def override_option(refuses: str) -> Callable[[Decorated], Decorated]:
    """`--override-gates`: the function gets `override`, a reason or an empty text.

    Args:
        refuses: what is pushed all the same, for the help.
    """
    return click.option(
        "--override-gates",
        "override",
        callback=_reason,
        metavar="REASON",
        help=f"Push even what {refuses} refuses; the reason is recorded.",
    )


def _reason(_: click.Context, __: click.Parameter, text: str | None) -> str:
    if text is not None and not text.strip():
        raise BadInput("--override-gates has no reason. Say why it is to be pushed all the same.")
    return (text or "").strip()


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
            type=PATH,
            metavar="FILE",
            help="YAML with the options that differ.",
        ),
    ):
        function = option(function)
    return function
