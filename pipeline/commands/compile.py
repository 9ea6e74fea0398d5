"""`debut compile`: the pipeline as a file for Kubeflow Pipelines or Vertex AI Pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from models.errors import BadInput
from pipeline.commands.configuring import PATH, configuration_options
from pipeline.commands.failures import debug_option, debugging
from serving.on_disk import write_at_once

if TYPE_CHECKING:
    from pipeline.kubeflow.compiling import Runner

_SUFFIXES: Final = {"kubeflow": (".yaml", ".yml"), "vertex": (".json",)}


@click.command(
    name="compile",
    epilog="""\b
Examples:
  debut compile --runner kubeflow --data /models/shop --output pipeline.yaml
  debut compile --runner vertex --config shop.yaml --output pipeline.json

What the cluster has to offer stands under `kubeflow` in the configuration. Nothing is run, and no
data is looked at: paths are those that the containers see.""",
)
@click.option(
    "--runner", type=click.Choice(["kubeflow", "vertex"]), required=True, help="Who will run it."
)
@click.option(
    "--data",
    metavar="DIR",
    help="The data folder, as the containers see it  [default: the sample in the image]",
)
@configuration_options
@click.option(
    "--output",
    type=PATH,
    required=True,
    metavar="FILE",
    help="Written at once: .yaml for kubeflow, .json for vertex.",
)
@debug_option
def compile_(
    runner: Runner, data: str | None, config: Path | None, settings: tuple[str, ...], output: Path
) -> None:
    """Write the pipeline for a cluster, and run nothing."""
    from pipeline.commands.quiet import quiet
    from pipeline.commands.terminal import loading, open_console
    from pipeline.config import RUN_SECTIONS, load_configuration

    if not output.name.endswith(_SUFFIXES[runner]):
        raise BadInput(
            f"--output {output} does not end in {_SUFFIXES[runner][0]}, by which {runner} tells "
            "what is in the file. Name it so."
        )
    loaded = load_configuration(config, settings, data=data, read=(*RUN_SECTIONS, "kubeflow"))
    console = open_console()
    with quiet(None, debug=debugging()), loading("TensorFlow and TFX", console):
        from pipeline.kubeflow.compiling import compile_pipeline

        text = compile_pipeline(loaded, runner)
    _write(output, text)
    console.print(f"Wrote {output} for {runner}.", highlight=False, markup=False, soft_wrap=True)


def _write(output: Path, text: str) -> None:
    try:
        write_at_once(output, text)
    except OSError as error:
        raise BadInput(
            f"{output} can't be written ({error.strerror}). Give --output a file in a folder that "
            "is there."
        ) from error
