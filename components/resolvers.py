"""What a run is compared with: the last model that passed every gate, and the data it came from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import standard_artifacts

EXAMPLES: Final = "examples"
_MODEL: Final = standard_artifacts.Model.TYPE_NAME


class LatestBlessedByBothStrategy(LatestBlessedModelStrategy):
    """Newest model that Evaluator and InfraValidator both blessed.

    TFX's own strategy only knows Evaluator's blessing, and would make a model that no server can
    load the baseline of the next run.
    """

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Choose a model and its blessing, or empty lists where there is none."""
        servable = _infra_blessed_models(store)
        chosen: dict[str, list[types.Artifact]] | None = super().resolve_artifacts(
            store,
            {
                key: [a for a in artifacts if a.type_name != _MODEL or int(a.id) in servable]
                for key, artifacts in input_dict.items()
            },
        )
        return chosen


class LatestBlessedOfOlderSpanStrategy(LatestBlessedByBothStrategy):
    """Newest model that both blessed and that was trained on an older span than the data now.

    Nothing for the first span and for data without spans. A model of the same span is never chosen:
    the same run again would find another base than the first time, and could take nothing from the
    cache.
    """

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Choose a model and its blessing, or empty lists where there is none.

        Args:
            store: which records what models were trained on.
            input_dict: models, blessings, and under EXAMPLES the data of the run, which is
                handed on as it is.
        """
        now = max((int(examples.span) for examples in input_dict[EXAMPLES]), default=0)
        chosen = super().resolve_artifacts(
            store,
            {
                key: [a for a in artifacts if a.type_name != _MODEL or 0 < _span(store, a) < now]
                for key, artifacts in input_dict.items()
                if key != EXAMPLES
            },
        )
        return chosen and chosen | {EXAMPLES: input_dict[EXAMPLES]}


class LastPushedStatisticsStrategy(ResolverStrategy):
    """Newest statistics among the runs in which Pusher pushed; nothing before the first push.

    TFX's latest-artifact strategy would take the statistics of a run that the drift gate itself
    had stopped. The same data would then be compared with itself, and pass at the second try.
    """

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


def _infra_blessed_models(store: MetadataStore) -> set[int]:
    blessings = store.get_artifacts_by_type(standard_artifacts.InfraBlessing.TYPE_NAME)
    blessed = [a.id for a in blessings if a.custom_properties["blessed"].int_value == 1]
    producers = _producers(store, blessed)
    return {
        event.artifact_id
        for event in store.get_events_by_execution_ids(producers)
        if event.type == metadata_store_pb2.Event.INPUT
    }


def _span(store: MetadataStore, model: types.Artifact) -> int:
    """The newest span among the Examples that a model was trained on; 0 where none is recorded."""
    read = [
        event.artifact_id
        for event in store.get_events_by_execution_ids(_producers(store, [int(model.id)]))
        if event.type == metadata_store_pb2.Event.INPUT
    ]
    spans = [a.properties["span"].int_value for a in store.get_artifacts_by_id(read)]
    return max(spans, default=0)


def _pushed_runs(store: MetadataStore) -> set[int]:
    artifacts = store.get_artifacts_by_type(standard_artifacts.PushedModel.TYPE_NAME)
    pushed = [a.id for a in artifacts if a.custom_properties["pushed"].int_value == 1]
    return {run for artifact in pushed for run in _runs(store, artifact)}


def _runs(store: MetadataStore, artifact: int) -> set[int]:
    """Contexts of the pipeline runs that produced an artifact or took it from the cache."""
    return {
        context.id
        for execution in _producers(store, [artifact])
        for context in store.get_contexts_by_execution(execution)
        if context.type == "pipeline_run"
    }


def _producers(store: MetadataStore, artifacts: Collection[int]) -> set[int]:
    return {
        event.execution_id
        for event in store.get_events_by_artifact_ids(artifacts)
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
