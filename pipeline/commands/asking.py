"""What the commands that ask a server share: options, the connection and the output."""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.commands.configuring import PATH
from pipeline.commands.failures import debug_option

if TYPE_CHECKING:
    from serving.client import Client

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


length_option = click.option(
    "-k", type=click.IntRange(min=1), default=10, show_default=True, help="Length of the list."
)


def _split(text: str) -> list[str]:
    try:
        [items] = csv.reader([text], skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise click.BadParameter(
            f"{error}. Separate ids by commas; an id with a comma, or that begins with a double "
            "quote, stands in double quotes, which are doubled within."
        ) from error
    return [item.strip() for item in items if item.strip()]


def user_options(function: Decorated) -> Decorated:
    """Adds `--user`, `--history` and `--profile`: whom the question is about."""
    for option in (
        click.option(
            "--profile", default="", metavar="TEXT", help='For example "age: 24. country: Spain."'
        ),
        click.option(
            "--history",
            default="",
            callback=lambda _, __, text: _split(text),
            metavar="A,B,C",
            help="Item ids, oldest first, as in a CSV file; replaces the history seen in training.",
        ),
        click.option("--user", required=True, metavar="ID", help="A user id, known or not."),
    ):
        function = option(function)
    return function


def server_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say whom to ask and how to answer.

    The function gets `client`, connected as they say, in their place, and `as_json`.
    """
    decorated = connection_options(function)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--label",
            default="",
            metavar="LABEL",
            help="Ask the version with this label, stable or canary  [default: the newest version]",
        ),
    ):
        decorated = option(decorated)
    return decorated


def connection_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say whom to ask; the function gets `client` in their place."""

    @functools.wraps(function)
    def with_client(
        *,
        target: str,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        token_file: Path | None,
        label: str = "",
        **others: Any,
    ) -> None:
        with _connect(target, label, tls_ca, tls_cert, tls_key, token_file) as client:
            function(client=client, **others)

    decorated: Callable[..., None] = with_client
    for option in (
        debug_option,
        click.option(
            "--token-file", type=PATH, metavar="FILE", help="Holds a bearer token; needs TLS."
        ),
        click.option("--tls-key", type=PATH, metavar="FILE", help="The certificate's key, PEM."),
        click.option(
            "--tls-cert",
            type=PATH,
            metavar="FILE",
            help="Client certificate, PEM, for a server that asks for one.",
        ),
        click.option(
            "--tls-ca",
            type=PATH,
            metavar="FILE",
            help="Connect over TLS; the authority that signed the server's certificate, PEM.",
        ),
        click.option(
            "--target",
            default="localhost:8500",
            show_default=True,
            metavar="HOST:PORT",
            help="gRPC address of the model server.",
        ),
    ):
        decorated = option(decorated)
    return decorated


def _connect(
    target: str,
    label: str,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
) -> Client:
    """A client; it connects with the first question."""
    # gRPC would write its own lines about a server that isn't there.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from serving.client import Client
    from serving.client_credentials import Tls, token_from_file

    encrypted = any((tls_ca, tls_cert, tls_key))
    return Client(
        target,
        label=label,
        tls=Tls.from_files(tls_ca, tls_cert, tls_key) if encrypted else None,
        token=None if token_file is None else token_from_file(token_file),
    )


def print_ranked(column: str, ranked: Sequence[tuple[str, float]], *, title: str) -> None:
    """Prints ids with their scores for people, best first."""
    from pipeline.commands.terminal import new_table, open_console, print_table

    table = new_table(column, "score")
    for one, score in ranked:
        table.add_row(one, f"{score:.4f}")
    print_table(open_console(), title, table)


def print_json(answer: Any) -> None:
    """Prints an answer for programs."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
