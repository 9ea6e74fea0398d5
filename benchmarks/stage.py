"""`python -m benchmarks.stage ROOT NODE SETTING ...`: one stage, measured.

In a process of its own, so that the peak of its memory is its own. What it needs must have run in
the root before; TFX then takes it from the cache. A stage is a node of the pipeline, or INDEX: what
the Trainer does besides where a catalogue is large, here done for the pushed version.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import apache_beam as beam
import psutil
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops
import tfx.v1 as tfx
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.orchestration.pipeline import RunOptions

from components.beam_workers import prepare_workers
from components.metadata_store import open_store
from models.candidates.building import build_index, read_inheritance
from models.errors import DebutError
from pipeline.config import Configuration, load_configuration
from pipeline.layout import artifacts_folder, metadata_file, serving_folder
from pipeline.newest import newest_version
from pipeline.runner import define_pipeline

INDEX: Final = "index"
_KIB_IN_MIB: Final = 1024


class Stage(NamedTuple):
    """What a stage took.

    Attributes:
        seconds: of its executor and what TFX does around it.
        processor: seconds of all cores, of its workers too, without the start of the program and of
            what the runner starts once; other programs of the machine disturb them less.
        before: MiB that the process held before: libraries, the graph, and what INDEX is made of.
        peak: MiB that it held at most.
        worker: MiB that the largest worker beside it held at most, 0 without one.
        written: bytes of its outputs.
    """

    seconds: float
    processor: float
    before: float
    peak: float
    worker: float
    written: int


def in_a_process(root: Path, node: str, settings: Sequence[str]) -> Stage:
    """Run a stage.

    Args:
        root: of the run.
        node: its id, or INDEX.
        settings: of the configuration, the data among them.

    Raises:
        DebutError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.stage", str(root), node, *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DebutError(f"{node} failed: {done.stderr[-2000:]}")
    return Stage(*json.loads(done.stdout.splitlines()[-1]))


def _stage(root: Path, node: str, settings: Sequence[str]) -> Stage:
    config = load_configuration(None, settings)
    _start_runner(config.run.beam_pipeline_args)
    run = (_index if node == INDEX else _node)(root, node, config)
    before, started = _peak(resource.RUSAGE_SELF), _processor()
    # Whatever ran beside the start, such as a fork that asked for the name of the machine.
    helper = _peak(resource.RUSAGE_CHILDREN)
    seconds, written = run()
    _end_children()
    worker = _peak(resource.RUSAGE_CHILDREN)
    return Stage(
        seconds=seconds,
        processor=_processor() - started,
        before=before,
        peak=_peak(resource.RUSAGE_SELF),
        worker=worker if worker > helper else 0.0,
        written=written,
    )


def _start_runner(beam_args: Sequence[str]) -> None:
    """Start what a runner starts once in a run."""
    prepare_workers(beam_args)
    with beam.Pipeline(options=PipelineOptions(beam_args)) as pipeline:
        _ = pipeline | beam.Create([None])


def _node(root: Path, node: str, config: Configuration) -> Callable[[], tuple[float, int]]:
    """What runs a node and returns its seconds and the bytes of its outputs."""
    pipeline = define_pipeline(config, root)

    def run() -> tuple[float, int]:
        tfx.orchestration.LocalDagRunner().run(pipeline, run_options=RunOptions(to_nodes=[node]))
        files = (artifacts_folder(root) / node).rglob("*")
        return _seconds(root, node), sum(file.stat().st_size for file in files if file.is_file())

    return run


def _index(root: Path, _: str, config: Configuration) -> Callable[[], tuple[float, int]]:
    """The same of the index of the pushed version."""
    shelf = tf.saved_model.load(str(newest_version(serving_folder(root))))._shelf
    inheritance = read_inheritance(shelf)

    def run() -> tuple[float, int]:
        start = time.perf_counter()
        beam_args = config.run.beam_pipeline_args
        index = build_index(inheritance, config.index, beam_args=beam_args)
        return time.perf_counter() - start, sum(column.nbytes for column in vars(index).values())

    return run


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
    """Of this process, of the children that have ended, and of those that live, with theirs."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = sum(usage.ru_utime + usage.ru_stime for usage in used)
    living = (child.cpu_times() for child in psutil.Process().children())
    return ended + sum(sum(times[:4]) for times in living)


def _end_children() -> None:
    """So that what they and theirs took is told."""
    for child in psutil.Process().children():
        child.kill()  # one of them ignores what is less
        child.wait()


def _peak(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss / _KIB_IN_MIB


if __name__ == "__main__":
    _root, _name, *_settings = sys.argv[1:]
    # TFX hands the command line to absl, which would not know these.
    del sys.argv[1:]
    print(json.dumps(_stage(Path(_root), _name, _settings)))
