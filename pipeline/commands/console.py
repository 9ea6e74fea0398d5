"""`debut console`: a page in the browser about a root and its model server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.asking import connection_options
from pipeline.commands.configuring import PATH, root_option
from pipeline.commands.failures import debugging

if TYPE_CHECKING:
    from serving.client import Client


@click.command(
    epilog="""\b
Example:
  debut console --root runs --port 9080"""
)
@root_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8502,
    show_default=True,
    metavar="PORT",
    help="0 for any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--auth-token-file",
    type=PATH,
    metavar="FILE",
    help="SHA-256 of the tokens that may promote and roll back, one a line; else nobody may.",
)
@connection_options
def console(root: Path, port: int, host: str, auth_token_file: Path | None, client: Client) -> None:
    """Show products, customers, versions, gates and drift in a browser.

    The page asks the model server at --target; what was measured it reads from the root. It says
    one line when it is ready. SIGTERM or Ctrl-C ends it with 0.
    """
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()):
        from pipeline.console.server import create_console, serve
        from serving.addresses import with_port

        changes = "read-only" if auth_token_file is None else "changes with a token"
        serve(
            create_console(root, client, token_file=auth_token_file),
            host=host,
            port=port,
            say=lambda port: click.echo(f"Console at http://{with_port(host, port)}/, {changes}."),
        )
