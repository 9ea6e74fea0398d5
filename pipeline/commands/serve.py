"""`debut serve`: a model server on what the last run pushed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.configuring import root_option
from pipeline.commands.failures import debug_option
from pipeline.layout import MODEL_NAME, serving_folder

if TYPE_CHECKING:
    from serving.launcher import Engine

_PORT = click.IntRange(1, 65535)


@click.command(
    epilog="""\b
Example:
  debut serve --root runs --grpc-port 9000"""
)
@root_option
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True, metavar="PORT")
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    default=8501,
    show_default=True,
    metavar="PORT",
    help="0 for none.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "binary", "docker", "embedded"]),
    default="auto",
    show_default=True,
    help="auto takes tensorflow_model_server, else Docker, else the embedded server.",
)
@debug_option
def serve(root: Path, grpc_port: int, rest_port: int, host: str, engine: str) -> None:
    """Serve what was pushed, under the model name `debut`.

    Says one line when it is ready. New versions are taken up as they are pushed. SIGTERM or Ctrl-C
    finishes the requests in flight and ends with 0.
    """
    from pipeline.newest import newest_version
    from serving import launcher

    base = serving_folder(root)
    newest_version(base)
    chosen = launcher.choose(engine)
    with _labels(chosen, base) as config:
        launcher.serve(
            chosen,
            base_path=str(base),
            model_name=MODEL_NAME,
            host=host,
            grpc_port=grpc_port,
            rest_port=rest_port,
            model_config=str(config),
            say=click.echo,
        )


def _labels(engine: Engine, base: Path) -> AbstractContextManager[Path]:
    from components.version_folder import refresh_labels
    from pipeline.own_labels import own_labels

    # A container is given the root's folder alone, so its file has to lie there.
    return nullcontext(refresh_labels(base)) if engine == "docker" else own_labels(base)
