"""Runs Beam stages of a finished run once more, on the same inputs and another runner.

`python -m tests.portable.stages ROOT OUTPUT NODE ... -- BEAM FLAGS` in a process of its own: what
hangs can then be ended. A node's outputs come to OUTPUT/<node>/<output>. `Describing` is no node:
it is what `debut items add` has Beam do, here to all products of --items.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact

from components.accounted import EvaluatorExecutor, StatisticsExecutor, TransformExecutor
from components.beam_workers import prepare_workers
from components.catalogue import beam_describing
from components.ingestion.executor import Executor as IngestionExecutor
from components.ingestion.folder import ITEMS, open_table
from components.ingestion.newcomers import read_products
from models.shelf.sparse_arrays import to_arrays
from pipeline.layout import serving_folder
from pipeline.newest import newest_version
from pipeline.pushed import read_terms
from tests.end_to_end.metadata import NewestRun

DESCRIBING = "Describing"
NODES: dict[str, type[BaseBeamExecutor]] = {
    "DataFolderExampleGen": IngestionExecutor,
    "StatisticsCatalogue": StatisticsExecutor,
    "StatisticsInteractions": StatisticsExecutor,
    "TransformCatalogue": TransformExecutor,
    "TransformInteractions": TransformExecutor,
    "Evaluator": EvaluatorExecutor,
}
# So that there are several batches of a tiny catalogue.
_PRODUCTS_IN_A_BATCH = 20


def rerun(root: Path, output: Path, node: str, beam_args: list[str]) -> None:
    """Run a node's executor on the inputs and parameters that it had."""
    run = NewestRun(root)
    outputs = {
        key: [_fresh(artifact, output / node / key) for artifact in artifacts]
        for key, artifacts in run.artifacts(node, mlmd.Event.OUTPUT).items()
    }
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=beam_args, tmp_dir=str(output / "tmp" / node), unique_id=node
    )
    executor = NODES[node](context)
    executor.Do(run.artifacts(node, mlmd.Event.INPUT), outputs, run.properties(node))


def describe(root: Path, output: Path, items: Path, beam_args: list[str]) -> None:
    """Have the pushed model describe the products of a file."""
    version = newest_version(serving_folder(root))
    options = read_terms(root, version).options
    products, _ = read_products(open_table(items, ITEMS), options)
    vars(beam_describing)["_BATCH"] = _PRODUCTS_IN_A_BATCH
    columns: dict[str, Any] = beam_describing.describe_by_beam(
        version, products, beam_args, place=output
    )._asdict()
    columns |= to_arrays("terms", columns.pop("terms"))
    (output / DESCRIBING).mkdir()
    np.savez(output / DESCRIBING / "described.npz", **columns)


def _fresh(artifact: Artifact, folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    made = type(artifact)()
    made.uri = str(folder)
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("nodes", nargs="+")
    parser.add_argument("--items", type=Path)
    mark = sys.argv.index("--")
    given, beam_args = parser.parse_args(sys.argv[1:mark]), sys.argv[mark + 1 :]
    # TFX's executors hand the whole command line to absl, which would not know these.
    del sys.argv[1:]
    prepare_workers(beam_args)
    given.output.mkdir(parents=True, exist_ok=True)
    for node in given.nodes:
        if node == DESCRIBING:
            describe(given.root, given.output, given.items, beam_args)
        else:
            rerun(given.root, given.output, node, beam_args)


if __name__ == "__main__":
    main()
