"""`debut index`: what other engines need to search a pushed model."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.configuring import PATH, root_option
from pipeline.commands.failures import debug_option, debugging
from pipeline.counted import counted


@click.group(
    epilog="""\b
Example:
  debut index export --root runs --output index""",
)
@debug_option
def index() -> None:
    """Search a pushed model by another engine."""


@index.command(
    epilog="""\b
Example:
  debut index export --root runs --output index"""
)
@root_option
@click.option(
    "--output", type=PATH, required=True, metavar="DIR", help="The folder to make; it is new."
)
@debug_option
def export(root: Path, output: Path) -> None:
    """Write vectors and ids of the newest version as files, for FAISS, ScaNN and the like."""
    from pipeline.commands.quiet import quiet
    from pipeline.commands.terminal import loading, open_console

    with quiet(None, debug=debugging()):
        with loading("TensorFlow", open_console()):
            from pipeline.indexing import export_newest
        with open_console().status("Reading the model, writing the files"):
            version, items = export_newest(root, output)
    told = counted(items, f"item of version {version} is", f"items of version {version} are")
    click.echo(f"{told} in {output}.")
