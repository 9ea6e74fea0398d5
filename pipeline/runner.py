"""Runs the pipeline on this machine and tells what is going on.

TFX's LocalDagRunner does the work. It has no callback for progress, and Beam's worker switches its
log lines off, so the launcher of single nodes is replaced by one that reports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import tfx.v1 as tfx
from rich.console import Console
from tfx.orchestration.local import local_dag_runner
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.orchestration.portable.launcher import Launcher
from tfx.proto.orchestration import execution_result_pb2

from components.beam_workers import prepare_workers
from components.ingestion.folder import fingerprint, open_folder
from components.ingestion.options import read_pseudonym_key
from components.lineage import read_pushes, withdrawn_models
from components.metadata_store import read_store
from models.encoders.folder import SCRATCH
from models.errors import BadInput
from models.tracking import require_installed
from pipeline.abandoned import clear_abandoned
from pipeline.after_push import told_where_it_fails
from pipeline.config import Configuration
from pipeline.encoder_fit import fitting_encoder
from pipeline.evaluation import check_gates
from pipeline.layout import SAMPLE, artifacts_folder, metadata_file, serving_folder
from pipeline.model_card import write_card
from pipeline.outcome import Outcome, read_outcome
from pipeline.pipeline import Exceptions, Fingerprints, Places, create_pipeline
from pipeline.scratch import with_own_encoder


def run_pipeline(
    config: Configuration, *, root: Path, console: Console, override: str = ""
) -> Outcome:
    """Check the inputs, run every node, and read what came out of it.

    The caller holds the root meanwhile, by `lock.alone`.

    Args:
        config: of the run.
        root: where everything is kept.
        console: for the progress.
        override: a reason to push what Evaluator refuses; empty for none.

    Raises:
        BadInput: the data folder or the encoder can't be used, or workers are asked for; nothing
            was computed.
    """
    _refuse_workers(config)
    prepare_workers(config.run.beam_pipeline_args)
    is_scratch = config.encoder.name == SCRATCH
    with console.status("Training an encoder" if is_scratch else "Checking the inputs"):
        pipeline = define_pipeline(config, root, override)
    nodes = [component.id for component in pipeline.components]
    with _progress(console, nodes) as durations:
        clear_abandoned(root)
        tfx.orchestration.LocalDagRunner().run(pipeline)
        outcome = read_outcome(metadata_file(root), config, durations)
        if outcome.version is not None and not outcome.is_repeat:
            with told_where_it_fails("model card", outcome.version):
                write_card(root, int(outcome.version.name))
        return outcome


def define_pipeline(config: Configuration, root: Path, override: str = "") -> tfx.dsl.Pipeline:
    """Check the inputs and build the graph over the folders of a root, which is made.

    An encoder from scratch is trained here, unless the root has it, once all else is checked.

    Raises:
        BadInput: the data folder, the encoder, the rules or a gate can't be used, the encoder has
            fewer layers or places than are asked for, or a key or a library for tracking is
            missing.
    """
    data = Path(config.data.path) if config.data.path else SAMPLE
    folder = open_folder(data)
    by_span = len(folder.spans) > 1
    require_installed(config.tracking)
    check_gates(config.gates.model, by_span=by_span)
    rules = config.rules.read()
    data_fingerprint = fingerprint(folder, read_pseudonym_key(config.data))
    config = with_own_encoder(config, folder, root)
    encoder = fitting_encoder(config)
    root.mkdir(parents=True, exist_ok=True)
    return create_pipeline(
        config,
        data=str(data.resolve()),
        fingerprints=Fingerprints(data=data_fingerprint, encoder=encoder.fingerprint()),
        places=places(root),
        by_span=by_span,
        rules=rules,
        exceptions=Exceptions(override=override, withdrawn=_withdrawn(metadata_file(root))),
    )


def _refuse_workers(config: Configuration) -> None:
    if config.training.strategy == "multi_worker_mirrored":
        raise BadInput(
            "training.strategy is multi_worker_mirrored, and here all nodes run in one process, "
            "which can't join a cluster that late. Take `mirrored` for the GPUs of this machine, "
            "or run the Trainer that `debut compile` writes on each worker."
        )


def places(root: Path) -> Places:
    """The folders of a root."""
    return Places(
        artifacts=str(artifacts_folder(root)),
        serving=str(serving_folder(root)),
        metadata=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(metadata_file(root))
        ),
    )


def _withdrawn(metadata: Path) -> dict[str, str]:
    """Ids of models that a rollback took out of service, with the reason."""
    models = withdrawn_models(read_pushes(read_store(metadata)))
    return {str(model): reason for model, reason in models.items()}


@contextmanager
def _progress(console: Console, nodes: Sequence[str]) -> Iterator[dict[str, float]]:
    """Shows the running node on a terminal and prints a line when a node ends."""
    durations: dict[str, float] = {}
    status = console.status("Starting")
    count, width = len(nodes), max(map(len, nodes))

    class ReportingLauncher(Launcher):
        _cached = True

        def _run_executor(self, info: ExecutionInfo) -> execution_result_pb2.ExecutorOutput:
            self._cached = False
            return super()._run_executor(info)

        def launch(self) -> ExecutionInfo | None:
            node = self._pipeline_node.node_info.id
            status.update(f"{node} ({len(durations) + 1} of {count})")
            start = time.monotonic()
            executed: ExecutionInfo | None = super().launch()
            durations[node] = time.monotonic() - start
            cached = self._cached and self._system_node_handler is None
            took = "  cached" if cached else f"{durations[node]:6.1f} s"
            place = f"[{len(durations):2d}/{count}]"
            console.print(f"{place} {node:<{width}} {took}", highlight=False, markup=False)
            return executed

    with status, mock.patch.object(local_dag_runner.launcher, "Launcher", ReportingLauncher):
        yield durations
