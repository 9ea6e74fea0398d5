"""What a run is compared with: the model that customers are served from, and the data behind it.

That is the last push with the label `stable`, not the last blessing: a rollback serves an earlier
model again, an override serves one that Evaluator refused, and a canary is on trial only.
"""

from __future__ import annotations

from typing import Final

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import ResolverStrategy

from components.artifacts import Artifacts
from components.lineage import RUN, Push, read_pushes, stable_push, withdrawn_models
from serving.version_labels import STABLE

EXAMPLES: Final = "examples"


class ServedModelStrategy(ResolverStrategy):
    """The trained model behind the stable version; none before the first push.

    TFX's own strategy takes the newest model that Evaluator blessed. That may be one that no server
    can load, or one that was taken out of service.
    """

    def resolve_artifacts(self, store: MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Choose one model for each key, or empty lists where there is none."""
        served = _served(store)
        model = served and served.model
        return {key: [a for a in found if int(a.id) == model] for key, found in input_dict.items()}


class ServedOfOlderSpanStrategy(ResolverStrategy):
    """The model that customers were last served from and that was trained on an older span.

    Nothing for the first span and for data without spans. A model of the same span is never chosen:
    the same run again would find another base than the first time, and could take nothing from the
    cache. Nor is one that a rollback took out of service.
    """

    def resolve_artifacts(self, store: MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Choose one model for each key, or empty lists where there is none.

        Args:
            store: which records what models were trained on.
            input_dict: models, and under EXAMPLES the data of the run, which is handed on as it is.
        """
        now = max((int(examples.span) for examples in input_dict[EXAMPLES]), default=0)
        pushes = read_pushes(store)
        withdrawn = withdrawn_models(pushes)
        served = [p.model for p in reversed(pushes) if p.label == STABLE]

        def newest(models: list[types.Artifact]) -> list[types.Artifact]:
            of = {int(model.id): model for model in models}
            known = (of[model] for model in served if model in of and model not in withdrawn)
            return [model for model in known if 0 < _span(store, model) < now][:1]

        return {
            key: found if key == EXAMPLES else newest(found) for key, found in input_dict.items()
        }


class LastPushedStatisticsStrategy(ResolverStrategy):
    """Statistics of the run behind the stable version; nothing before the first push.

    TFX's latest-artifact strategy would take the statistics of a run that the drift gate itself
    had stopped. The same data would then be compared with itself, and pass at the second try.
    """

    def resolve_artifacts(self, store: MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Choose one artifact for each key, or None where any key has none."""
        served = _served(store)
        chosen = {
            key: [a for a in artifacts if served and served.run in _runs(store, a.id)]
            for key, artifacts in input_dict.items()
        }
        if not all(chosen.values()):
            return None
        return {key: [max(found, key=lambda a: int(a.id))] for key, found in chosen.items()}


def _served(store: MetadataStore) -> Push | None:
    return stable_push(read_pushes(store))


def _span(store: MetadataStore, model: types.Artifact) -> int:
    """The newest span among the Examples that a model was trained on; 0 where none is recorded."""
    read = [
        event.artifact_id
        for event in store.get_events_by_execution_ids(_producers(store, int(model.id)))
        if event.type == metadata_store_pb2.Event.INPUT
    ]
    spans = [a.properties["span"].int_value for a in store.get_artifacts_by_id(read)]
    return max(spans, default=0)


def _runs(store: MetadataStore, artifact: int) -> set[int]:
    """Contexts of the pipeline runs that produced an artifact or took it from the cache."""
    return {
        context.id
        for execution in _producers(store, artifact)
        for context in store.get_contexts_by_execution(execution)
        if context.type == RUN
    }


def _producers(store: MetadataStore, artifact: int) -> set[int]:
    return {
        event.execution_id
        for event in store.get_events_by_artifact_ids([artifact])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
