"""What the Trainer is given: ingestion and Transform, run as nodes of the pipeline, and no more."""

from __future__ import annotations

from pathlib import Path

from tfx import v1 as tfx
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.orchestration.pipeline import RunOptions

from models import features
from models.options import BEAM_ARGS, CATALOGUE_FILES, CATALOGUE_GRAPH_PATH, SPLIT_FILES
from pipeline.config import Configuration, load_configuration
from pipeline.runner import define_pipeline


def transformed(config: Configuration, root: Path) -> FnArgs:
    """Run the pipeline up to Transform, and name what it made as the Trainer is told it."""
    nodes = [f"Transform{lane}" for lane in ("Catalogue", "Interactions")]
    tfx.orchestration.LocalDagRunner().run(
        define_pipeline(config, root),
        run_options=RunOptions(to_nodes=nodes),
    )
    return trainer_arguments(root)


def trainer_arguments(root: Path) -> FnArgs:
    """What a root's newest nodes made."""

    def newest(node: str, output: str) -> Path:
        made = (root / "artifacts" / node / output).iterdir()
        return max(made, key=lambda folder: int(folder.name))

    def files(folder: Path) -> list[str]:
        return sorted(map(str, folder.iterdir()))

    catalogue = newest("TransformCatalogue", "transformed_examples")
    interactions = newest("DataFolderExampleGen", "interactions")
    splits = (features.TRAIN, features.EVAL, features.NEW_ITEMS)
    return FnArgs(
        transform_graph_path=str(newest("TransformInteractions", "transform_graph")),
        custom_config={
            BEAM_ARGS: load_configuration().run.beam_pipeline_args,
            CATALOGUE_FILES: files(catalogue / f"Split-{features.ALL}"),
            CATALOGUE_GRAPH_PATH: str(newest("TransformCatalogue", "transform_graph")),
            SPLIT_FILES: {split: files(interactions / f"Split-{split}") for split in splits},
        },
    )
