"""`python -m benchmarks.stage ROOT NODE SETTING ...`: one node of the pipeline, measured.

In a process of its own, so that the peak of its memory is its own. What it needs must have run in
the root before; TFX then takes it from the cache.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import tfx.v1 as tfx
from tfx.orchestration.pipeline import RunOptions

from components.lineage import open_store
from models.errors import DebutError
from pipeline.beam_profiles import turn_off_timed_flush
from pipeline.config import load_configuration
from pipeline.layout import artifacts_folder, metadata_file
from pipeline.runner import define_pipeline

_KIB_IN_MIB: Final = 1024


class Stage(NamedTuple):
    """What a node took.

    Attributes:
        seconds: of its executor and what TFX does around it.
        processor: seconds of all cores, of its workers too, without the start of the program; other
            programs of the machine disturb them less.
        before: MiB that the process held before, the libraries and the graph.
        peak: MiB that it held at most.
        worker: MiB that the largest process beside it held at most, 0 without one.
        written: bytes of its outputs.
    """

    seconds: float
    processor: float
    before: float
    peak: float
    worker: float
    written: int


def in_a_process(root: Path, node: str, settings: Sequence[str]) -> Stage:
    """Run a node.

    Args:
        root: of the run.
        node: its id.
        settings: of the configuration, the data among them.

    Raises:
        DebutError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.stage", str(root), node, *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DebutError(f"{node} failed: {done.stderr[-2000:]}")
    return Stage(*json.loads(done.stdout.splitlines()[-1]))


def _measured(root: Path, node: str, settings: Sequence[str]) -> Stage:
    pipeline = define_pipeline(load_configuration(None, settings), root)
    turn_off_timed_flush()
    before, started = _peak(resource.RUSAGE_SELF), _processor()
    tfx.orchestration.LocalDagRunner().run(pipeline, run_options=RunOptions(to_nodes=[node]))
    return Stage(
        seconds=_seconds(root, node),
        processor=_processor() - started,
        before=before,
        peak=_peak(resource.RUSAGE_SELF),
        worker=_peak(resource.RUSAGE_CHILDREN),
        written=sum(
            file.stat().st_size
            for file in (artifacts_folder(root) / node).rglob("*")
            if file.is_file()
        ),
    )


def _seconds(root: Path, node: str) -> float:
    """Of the newest execution of a node, as ML Metadata has it."""
    store = open_store(metadata_file(root))
    newest = max(
        (
            execution
            for context in store.get_contexts_by_type("node")
            if context.name.partition(".")[2] == node
            for execution in store.get_executions_by_context(context.id)
        ),
        key=lambda execution: execution.id,
    )
    taken: int = newest.last_update_time_since_epoch - newest.create_time_since_epoch
    return taken / 1e3


def _processor() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss / _KIB_IN_MIB


if __name__ == "__main__":
    _root, _node, *_settings = sys.argv[1:]
    # TFX hands the command line to absl, which would not know these.
    del sys.argv[1:]
    print(json.dumps(_measured(Path(_root), _node, _settings)))
