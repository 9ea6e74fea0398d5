"""What one run of a pipeline produced, or took from the cache, as ML Metadata knows it."""

from __future__ import annotations

from pathlib import Path

from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.lineage import open_store, read_pushes
from pipeline.drift import Drift, read_drift


def newest_run(metadata: Path, pipeline: str) -> RunArtifacts:
    """Of the newest run.

    Args:
        metadata: the SQLite file of ML Metadata.
        pipeline: name of the pipeline, for the error.

    Raises:
        NotFoundError: there is no run.
    """
    store = open_store(metadata)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        raise errors.NotFoundError(f"No run of the pipeline {pipeline!r} in {metadata}")
    return RunArtifacts(store, max(runs, key=lambda context: context.id))


def newest_judged_run(metadata: Path) -> RunArtifacts | None:
    """Of the newest run that Evaluator judged; None where there is none."""
    store = open_store(metadata)
    for context in sorted(
        store.get_contexts_by_type("pipeline_run"), key=lambda context: -int(context.id)
    ):
        run = RunArtifacts(store, context)
        if run.has(standard_artifacts.ModelEvaluation.TYPE_NAME):
            return run
    return None


class RunArtifacts:
    """The artifacts of one run, the newest of each type."""

    def __init__(self, store: MetadataStore, context: metadata_store_pb2.Context) -> None:
        """Reads their list."""
        self._store = store
        self.name: str = context.name
        self._id: int = context.id
        executions = {e.id: e for e in store.get_executions_by_context(context.id)}
        self._producer = {
            event.artifact_id: executions[event.execution_id]
            for event in store.get_events_by_execution_ids(executions)
            if event.type == metadata_store_pb2.Event.OUTPUT
        }
        self._artifacts = store.get_artifacts_by_id(sorted(self._producer))

    def artifacts(self) -> list[metadata_store_pb2.Artifact]:
        """All of them, in the order in which they were made."""
        return list(self._artifacts)

    def has(self, type_name: str) -> bool:
        """Whether there is an artifact of a type."""
        return any(artifact.type == type_name for artifact in self._artifacts)

    def artifact(self, type_name: str) -> metadata_store_pb2.Artifact:
        """The newest artifact of a type; each type that is asked for has one producer."""
        found = [a for a in self._artifacts if a.type == type_name]
        if not found:
            raise errors.NotFoundError(f"Run {self.name} has no artifact of type {type_name}")
        return max(found, key=lambda artifact: artifact.id)

    def producer(self, artifact: metadata_store_pb2.Artifact) -> metadata_store_pb2.Execution:
        """The execution that made it, in this run or in the one it was cached from."""
        return self._producer[artifact.id]

    def drift(self, evaluation: Path) -> Drift:
        """From the last run that pushed, as the validators and Evaluator measured it."""
        return read_drift(
            self._store,
            read_pushes(self._store),
            run=self._id,
            anomalies=[
                Path(artifact.uri)
                for artifact in self._artifacts
                if artifact.type == standard_artifacts.ExampleAnomalies.TYPE_NAME
                and "/DriftValidator" in artifact.uri
            ],
            evaluation=evaluation,
        )

    def is_cached(self, artifact: metadata_store_pb2.Artifact) -> bool:
        """Whether the run took an artifact from an earlier one."""
        state = self._producer[artifact.id].last_known_state
        return bool(state == metadata_store_pb2.Execution.CACHED)
