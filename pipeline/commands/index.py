"""`debut index`: the index of a pushed model, for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from pipeline.commands.configuring import configuration_options, root_option
from pipeline.commands.failures import FailingGroup, debug_option, debugging

_PATH: Final = click.Path(path_type=Path)


@click.group(
    cls=FailingGroup,
    epilog="""\b
Example:
  debut index export --root runs --output index""",
)
@debug_option
def index() -> None:
    """Take the index of a pushed model elsewhere."""


@index.command(
    epilog="""\b
Example:
  debut index export --root runs --output index

A model without an index gets one for the export, by the options of the section `index`."""
)
@root_option
@click.option(
    "--output", type=_PATH, required=True, metavar="DIR", help="The folder to make; it is new."
)
@configuration_options
@debug_option
def export(root: Path, output: Path, config: Path | None, settings: tuple[str, ...]) -> None:
    """Write vectors and ids of the newest version as files, for FAISS, ScaNN and the like."""
    from pipeline.commands.console import open_console
    from pipeline.commands.quiet import quiet

    with quiet(None, debug=debugging()):
        with open_console().status("Loading TensorFlow"):
            from pipeline.config import load_configuration
            from pipeline.indexing import export_newest

            configuration = load_configuration(config, settings)
        with open_console().status("Reading the model, writing the files"):
            version, items = export_newest(root, output, configuration)
    click.echo(f"{items:,} items of version {version} are in {output}.")
