"""The statistics that drift is measured against: those of the last run that pushed a model.

TFX's latest-artifact strategy would take the statistics of a run that the drift gate itself had
stopped. The same data would then be compared with itself, and pass at the second try.
"""

from __future__ import annotations

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import standard_artifacts


class LastPushedStatisticsStrategy(ResolverStrategy):
    """Newest statistics among the runs in which Pusher pushed; nothing before the first push."""

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Choose one artifact for each key, or None where any key has none."""
        pushed = _pushed_runs(store)
        chosen = {
            key: [a for a in artifacts if _runs(store, a.id) & pushed]
            for key, artifacts in input_dict.items()
        }
        if not all(chosen.values()):
            return None
        return {key: [max(found, key=lambda a: int(a.id))] for key, found in chosen.items()}


def _pushed_runs(store: MetadataStore) -> set[int]:
    artifacts = store.get_artifacts_by_type(standard_artifacts.PushedModel.TYPE_NAME)
    pushed = [a.id for a in artifacts if a.custom_properties["pushed"].int_value == 1]
    return {run for artifact in pushed for run in _runs(store, artifact)}


def _runs(store: MetadataStore, artifact: int) -> set[int]:
    """Contexts of the pipeline runs that produced an artifact or took it from the cache."""
    producers = {
        event.execution_id
        for event in store.get_events_by_artifact_ids([artifact])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    return {
        context.id
        for execution in producers
        for context in store.get_contexts_by_execution(execution)
        if context.type == "pipeline_run"
    }
