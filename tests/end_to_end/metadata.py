"""What ML Metadata says about the newest run: which node did what, and with which artifacts."""

from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import Artifact, artifact_utils

STATES = mlmd.Execution.State


class NewestRun:
    """The executions of the newest run below a root, by node."""

    def __init__(self, root: Path) -> None:
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
        self._store = MetadataStore(config)
        run = max(self._store.get_contexts_by_type("pipeline_run"), key=lambda found: found.id)
        self._executions = {}
        for execution in self._store.get_executions_by_context(run.id):
            (node,) = [
                context.name.partition(".")[2]
                for context in self._store.get_contexts_by_execution(execution.id)
                if self._store.get_context_types_by_id([context.type_id])[0].name == "node"
            ]
            self._executions[node] = execution

    @property
    def states(self) -> dict[str, str]:
        """COMPLETE, CACHED, FAILED and so on, by node."""
        return {
            node: STATES.Name(execution.last_known_state)
            for node, execution in self._executions.items()
        }

    def inputs(self, node: str, key: str) -> list[Path]:
        """The folders a node read as one of its inputs."""
        return self._folders(node, key, mlmd.Event.INPUT)

    def outputs(self, node: str, key: str) -> list[Path]:
        """The folders a node wrote, or took from the cache."""
        return self._folders(node, key, mlmd.Event.OUTPUT)

    def properties(self, node: str) -> dict[str, str | int | float]:
        """The parameters a node's executor was given."""
        found = self._executions[node].custom_properties.items()
        return {
            name: getattr(value, str(value.WhichOneof("value")))
            for name, value in found
            if not name.startswith("__")
        }

    def artifacts(self, node: str, kind: int) -> dict[str, list[Artifact]]:
        """What a node read or wrote, by key, as its executor was given it."""
        found: dict[str, list[Artifact]] = {}
        for event in self._store.get_events_by_execution_ids([self._executions[node].id]):
            if event.type == kind:
                [artifact] = self._store.get_artifacts_by_id([event.artifact_id])
                [type_] = self._store.get_artifact_types_by_id([artifact.type_id])
                for step in event.path.steps:
                    if step.HasField("key"):
                        found.setdefault(step.key, []).append(
                            artifact_utils.deserialize_artifact(type_, artifact)
                        )
        return found

    def _folders(self, node: str, key: str, kind: int) -> list[Path]:
        events = self._store.get_events_by_execution_ids([self._executions[node].id])
        # An artifact that is two inputs of a node has one event with both names.
        found = [
            event.artifact_id
            for event in events
            if event.type == kind and key in {step.key for step in event.path.steps}
        ]
        return [Path(artifact.uri) for artifact in self._store.get_artifacts_by_id(found)]
