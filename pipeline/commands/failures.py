"""How a command fails: one paragraph on stderr and the exit code of the error's class.

Usage errors are click's own, which end with 2 as bad input does.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from pipeline.error_text import describe

_DEBUG: Final = "pipeline.debug"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def debug_option(function: Decorated) -> Decorated:
    """Adds `--debug`, which holds for the whole command wherever on the line it stands."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.meta[_DEBUG] = True

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember,
        help="Show tracebacks, and what the libraries log.",
    )(function)


def debugging() -> bool:
    """Whether the running command was given `--debug`."""
    return bool(click.get_current_context().meta.get(_DEBUG))


class FailingCommand(click.Command):
    """A command that ends as the module says."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exception(error)
            code, text = describe(error)
            click.echo(text, err=True)
            ctx.exit(code)


class FailingGroup(FailingCommand, click.Group):
    """A group whose commands do so."""
