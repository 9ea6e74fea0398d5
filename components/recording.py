"""Notes in ML Metadata what no run of a pipeline did: pushes of a command, and promotions.

In the form that `components.lineage` reads.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.lineage import (
    BASE,
    BY,
    DESTINATION,
    LABEL,
    OVERRIDE,
    PROMOTE,
    PUSHED,
    PUSHED_MODEL,
    REASON,
    VERSION,
    push_of,
    read_pushes,
)
from serving.version_labels import STABLE

_INPUT, _OUTPUT = mlmd.Event.INPUT, mlmd.Event.OUTPUT


def record_push(
    store: MetadataStore,
    version: Path,
    *,
    base: Path,
    kind: str,
    label: str,
    details: Mapping[str, str],
) -> None:
    """Record a push that no run made.

    Args:
        store: the root's.
        version: folder that was pushed.
        base: folder that it was made of.
        kind: `ITEMS_ADD`, `ITEMS_REMOVE`, `ITEMS_REFRESH`, `EXPLORE` or `ROLLBACK`.
        label: of the version.
        details: what else to note on the execution; an `OVERRIDE` is noted of the version too, as
            the Pusher notes it.
    """
    pushed = mlmd.Artifact(
        type_id=store.put_artifact_type(
            mlmd.ArtifactType(name=PUSHED_MODEL, base_type=mlmd.ArtifactType.MODEL),
            can_add_fields=True,
            can_omit_fields=True,
        ),
        uri=str(version),
        state=mlmd.Artifact.LIVE,
    )
    pushed.custom_properties[PUSHED].int_value = 1
    noted = {VERSION: version.name, DESTINATION: str(version), LABEL: label, BASE: base.name}
    noted |= {name: details[name] for name in (OVERRIDE,) if name in details}
    for name, value in noted.items():
        pushed.custom_properties[name].string_value = value
    origin = push_of(read_pushes(store), int(base.name))
    inputs = store.get_artifacts_by_id([origin.artifact]) if origin else []
    store.put_execution(
        _execution(store, kind, details),
        [*((artifact, _event(_INPUT)) for artifact in inputs), (pushed, _event(_OUTPUT))],
        [],
    )


def record_promotion(store: MetadataStore, version: int, reason: str) -> None:
    """Record that a canary became the stable version."""
    push = push_of(read_pushes(store), version)
    execution = _execution(store, PROMOTE, {"version": str(version), REASON: reason})
    inputs = []
    if push is not None:
        [artifact] = store.get_artifacts_by_id([push.artifact])
        artifact.custom_properties[LABEL].string_value = STABLE
        inputs.append((artifact, _event(_INPUT)))
    store.put_execution(execution, inputs, [])


def _execution(store: MetadataStore, kind: str, details: Mapping[str, str]) -> mlmd.Execution:
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=kind)),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    for name, value in {**details, BY: _person()}.items():
        execution.custom_properties[name].string_value = value
    return execution


def _event(kind: mlmd.Event.Type) -> mlmd.Event:
    return mlmd.Event(type=kind)


def _person() -> str:
    try:
        user = getpass.getuser()
    except KeyError:  # as in a container, where the user's number has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
