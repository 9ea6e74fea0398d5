"""What `debut recommend` and `debut score` share: options, the connection and the output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.commands.failures import debug_option

if TYPE_CHECKING:
    from serving.client import Client

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _split(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def user_options(function: Decorated) -> Decorated:
    """Adds `--user`, `--history` and `--profile`: whom the question is about."""
    for option in (
        click.option(
            "--profile", default="", metavar="TEXT", help='For example "age: 24. country: Spain."'
        ),
        click.option(
            "--history",
            default="",
            callback=_split,
            metavar="A,B,C",
            help="Item ids, oldest first; replaces the history seen in training.",
        ),
        click.option("--user", required=True, metavar="ID", help="A user id, known or not."),
    ):
        function = option(function)
    return function


def server_options(function: Decorated) -> Decorated:
    """Adds `--target`, `--json` and `--debug`: whom to ask, and how to answer."""
    for option in (
        debug_option,
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--target",
            default="localhost:8500",
            show_default=True,
            metavar="HOST:PORT",
            help="gRPC address of the model server.",
        ),
    ):
        function = option(function)
    return function


def connect(target: str) -> Client:
    """A client; it connects with the first question."""
    # gRPC would write its own lines about a server that isn't there.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from serving.client import Client

    return Client(target)


def print_json(answer: dict[str, Any]) -> None:
    """Prints an answer for programs."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
