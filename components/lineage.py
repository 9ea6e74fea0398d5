"""Every push as ML Metadata knows it: those of runs, and those made of an earlier version.

A run's push is the output of the node `AtomicPusher`. `debut items`, `debut explore` and `debut
rollback` push outside TFX: each is an execution of a type of its own, with the `PushedModel` it
started from as its input. So each push leads back to the run that trained its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from serving.version_labels import STABLE

PUSHED_MODEL: Final = "PushedModel"
ITEMS_ADD: Final = "debut.items_add"
ITEMS_REMOVE: Final = "debut.items_remove"
ITEMS_REFRESH: Final = "debut.items_refresh"
EXPLORE: Final = "debut.explore"
ROLLBACK: Final = "debut.rollback"
PROMOTE: Final = "debut.promote"

# Custom properties of a `PushedModel`, beside TFX's own.
BASE: Final = "base"  # version that it was made of
LABEL: Final = "label"
OVERRIDE: Final = "override"  # why a gate's refusal was passed over
WITHDRAWN: Final = "withdrawn"  # why the model was not pushed, though blessed
# TFX's own, the last of a blessing.
PUSHED: Final = "pushed"
VERSION: Final = "pushed_version"
DESTINATION: Final = "pushed_destination"
MODEL_ID: Final = "current_model_id"
# Of an execution outside TFX.
BY: Final = "by"
REASON: Final = "reason"
INSTEAD_OF: Final = "instead_of"  # versions that a rollback took out of service, by commas

RUN: Final = "pipeline_run"  # type of the context that TFX gives each run
_INPUT, _OUTPUT = mlmd.Event.INPUT, mlmd.Event.OUTPUT


@dataclass(frozen=True)
class Push:
    """One version that was pushed.

    Attributes:
        artifact: id of the `PushedModel`.
        execution: id of the execution that pushed it; what began later has a higher one.
        version: number of its folder.
        kind: type of the execution that pushed it.
        seconds: unix time.
        by: run id, or the person and machine.
        base: version that it was made of; None where a run trained it.
        label: `stable` or `canary`, what it was promoted to included.
        override: why a gate's refusal was passed over; empty where none was.
        details: what else the execution noted.
        run: context of the pipeline run behind it, None where none is known.
        model: id of the Trainer's artifact behind it, likewise.
    """

    artifact: int
    execution: int
    version: int
    kind: str
    seconds: float
    by: str
    base: int | None
    label: str
    override: str
    details: Mapping[str, str]
    run: int | None
    model: int | None


def read_pushes(store: MetadataStore) -> list[Push]:
    """All pushes in their order.

    That is the order of their versions: what was pushed first may be recorded last.
    """
    artifacts = sorted(
        (
            artifact
            for artifact in store.get_artifacts_by_type(PUSHED_MODEL)
            if artifact.custom_properties[PUSHED].int_value == 1
        ),
        key=lambda artifact: (_version(artifact), artifact.id),
    )
    found: dict[int, Push] = {}
    for artifact in artifacts:
        found[artifact.id] = _push(store, artifact, found)
    return list(found.values())


def stable_push(pushes: Sequence[Push]) -> Push | None:
    """The newest stable push with a run behind it; None before the first one.

    It is what customers are served from, unless that was made of a version that nobody recorded.
    """
    known = (push for push in reversed(pushes) if push.label == STABLE and push.run is not None)
    return next(known, None)


def push_of(pushes: Sequence[Push], version: int) -> Push | None:
    """The push of a version; None where it was not recorded, as of a process that was killed."""
    return next((push for push in reversed(pushes) if push.version == version), None)


def withdrawn_models(pushes: Sequence[Push]) -> dict[int, str]:
    """Models that a rollback took out of service and nothing brought back, with the reason."""
    withdrawn: dict[int, str] = {}
    for push in pushes:
        if push.kind == ROLLBACK:
            for version in push.details[INSTEAD_OF].split(","):
                left = push_of(pushes, int(version))
                if left is not None and left.model is not None:
                    withdrawn[left.model] = push.details[REASON]
        if push.model is not None:
            withdrawn.pop(push.model, None)
    return withdrawn


def left_out(store: MetadataStore, version: int, *, data: int) -> list[Push]:
    """What was pushed without training while a run went on, and is not in what the run pushed.

    They are what the newest version before it was made of, from when the run's data were read.
    Where its ingestion came from the cache, that was in an earlier run; but a run that pushed since
    has left out, and told, what came before itself.

    Args:
        store: the root's.
        version: that the run pushed.
        data: id of an artifact of the run's ingestion.

    Returns:
        Oldest first.
    """
    began = _producer(store, data).id
    before = [push for push in read_pushes(store) if push.version < version]
    found: list[Push] = []
    link = before[-1] if before else None
    while link is not None and link.base is not None:
        if link.kind not in (ITEMS_REFRESH, ROLLBACK) and link.execution > began:
            found.append(link)
        link = push_of(before, link.base)
    return found[::-1]


def override_behind(pushes: Sequence[Push], push: Push) -> str:
    """Why a refusal of this version, or of one that it was made of, was passed over; empty if none.

    What is made of an overridden version stays so. Only what was explored is learned anew by each
    `debut explore`, so a refusal of an earlier state is past then.
    """
    is_learned_anew = False
    origin: Push | None = push
    while origin is not None:
        if origin.override and not (is_learned_anew and origin.kind == EXPLORE):
            return origin.override
        is_learned_anew = is_learned_anew or origin.kind == EXPLORE
        origin = None if origin.base is None else push_of(pushes, origin.base)
    return ""


def _push(store: MetadataStore, artifact: mlmd.Artifact, earlier: Mapping[int, Push]) -> Push:
    execution = _producer(store, artifact.id)
    inputs = [
        event.artifact_id
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type == _INPUT
    ]
    properties = {
        name: value.string_value
        for name, value in execution.custom_properties.items()
        if value.HasField("string_value")
    }
    noted = artifact.custom_properties[BASE].string_value
    made_of = int(noted) if noted else None
    base = None if made_of is None else push_of(list(earlier.values()), made_of)
    # ML Metadata has an error where an execution has no context, as ours outside TFX have none.
    is_outside = execution.type in (ITEMS_ADD, ITEMS_REMOVE, ITEMS_REFRESH, EXPLORE, ROLLBACK)
    contexts = [] if is_outside else store.get_contexts_by_execution(execution.id)
    runs = [context for context in contexts if context.type == RUN]
    if made_of is None:
        run, model = (runs[0].id if runs else None), _trained(store, inputs)
    else:
        run, model = (base.run, base.model) if base else (None, None)
    return Push(
        artifact=artifact.id,
        execution=execution.id,
        version=_version(artifact),
        kind=execution.type,
        seconds=artifact.create_time_since_epoch / 1000,
        by=runs[0].name if runs else properties.get(BY, ""),
        base=made_of,
        # An older Debut knew no labels: each push was what is now called stable.
        label=artifact.custom_properties[LABEL].string_value or STABLE,
        override=artifact.custom_properties[OVERRIDE].string_value,
        details=properties,
        run=run,
        model=model,
    )


def _version(artifact: mlmd.Artifact) -> int:
    return int(artifact.custom_properties[VERSION].string_value)


def _producer(store: MetadataStore, artifact: int) -> mlmd.Execution:
    """The execution that made an artifact: the first, as later ones took it from the cache."""
    events = store.get_events_by_artifact_ids([artifact])
    first = min(event.execution_id for event in events if event.type == _OUTPUT)
    [execution] = store.get_executions_by_id([first])
    return execution


def _trained(store: MetadataStore, inputs: Sequence[int]) -> int | None:
    """The Trainer's artifact, which the blessing among a Pusher's inputs names."""
    for artifact in store.get_artifacts_by_id(inputs):
        if MODEL_ID in artifact.custom_properties:
            return int(artifact.custom_properties[MODEL_ID].int_value)
    return None
