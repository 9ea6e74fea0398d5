"""What one run of a pipeline produced, or took from the cache, as ML Metadata knows it."""

from __future__ import annotations

from pathlib import Path

from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.lineage import RUN
from components.metadata_store import read_store


def newest_run(metadata: Path) -> RunArtifacts:
    """Of the newest run.

    Args:
        metadata: the SQLite file of ML Metadata.

    Raises:
        NotFoundError: there is no run.
    """
    store = read_store(metadata)
    runs = store.get_contexts_by_type(RUN)
    if not runs:
        raise errors.NotFoundError(f"{metadata} tells of no run")
    return RunArtifacts(store, max(runs, key=lambda context: context.id))


def run_behind(store: MetadataStore, context: int) -> RunArtifacts:
    """Of the run with a context, as a push names it."""
    [found] = store.get_contexts_by_id([context])
    return RunArtifacts(store, found)


def newest_judged_run(metadata: Path) -> RunArtifacts | None:
    """Of the newest run that Evaluator judged; None where there is none."""
    store = read_store(metadata)
    for context in sorted(store.get_contexts_by_type(RUN), key=lambda context: -int(context.id)):
        run = RunArtifacts(store, context)
        if run.has(standard_artifacts.ModelEvaluation.TYPE_NAME):
            return run
    return None


class RunArtifacts:
    """The artifacts of one run, the newest of each type.

    Attributes:
        store: that tells of it.
        id: of its context.
        name: TFX's run id, the time it started.
    """

    def __init__(self, store: MetadataStore, context: metadata_store_pb2.Context) -> None:
        """Reads their list."""
        self.store = store
        self.id: int = context.id
        self.name: str = context.name
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

    def folder(self, type_name: str) -> Path | None:
        """Of the newest artifact of a type.

        None where there is none, or none any more: people remove old artifacts to make room, and
        ML Metadata has the path that a root had when it ran.
        """
        if not self.has(type_name):
            return None
        folder = Path(self.artifact(type_name).uri)
        return folder if folder.is_dir() else None

    def parameter(self, type_name: str, name: str) -> str:
        """Of the node that made the newest artifact of a type."""
        execution = self._producer[self.artifact(type_name).id]
        return str(execution.custom_properties[name].string_value)

    def is_cached(self, artifact: metadata_store_pb2.Artifact) -> bool:
        """Whether the run took an artifact from an earlier one."""
        state = self._producer[artifact.id].last_known_state
        return bool(state == metadata_store_pb2.Execution.CACHED)
