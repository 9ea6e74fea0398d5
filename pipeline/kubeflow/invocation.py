"""What Kubeflow hands to a container, made into what TFX's executors take, and back again.

TFX 1.16's own entry point (tfx/orchestration/kubeflow/v2/container/kubeflow_v2_run_executor.py)
was written for Vertex. On open-source Kubeflow Pipelines (read in its source, 2.0.5 to 2.17.0):

- Inputs have no type: `instanceSchema` is empty (backend/src/v2/metadata/client.go,
  `ToRuntimeArtifact`), and TFX dies with "'NoneType' object has no attribute 'get'" (tfx#7768).
  The types stand in the component's input definitions.
- URIs are remote, but the files are below a mount: see `components.object_stores`.
- Structs and lists in the metadata come back wrapped (converter.go, `StructValueToMLMDValue`).
- Newer ones add an output `executor-logs` of a type that TFX can't import.

Everything here is JSON in and JSON out, as the messages of kfp's pipeline_spec are written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components.object_stores import local_path, remote_uri
from components.registry_nodes import ABSENT
from pipeline.kubeflow.paths import resolve

Json = dict[str, Any]


def to_executor(executor_input: Json, definitions: Json) -> Json:
    """An ExecutorInput as TFX's entry point and our executors take it.

    Args:
        executor_input: as the launcher writes it.
        definitions: the component's `inputDefinitions`.

    Returns:
        A new one: inputs typed, and empty where they are marked as absent; paths in place of URIs.
    """
    inputs = executor_input.get("inputs", {})
    outputs = executor_input.get("outputs", {})
    typed = definitions.get("artifacts", {})
    return {
        "inputs": {
            **inputs,
            "artifacts": {
                name: {
                    "artifacts": [
                        _input(artifact, typed[name]["artifactType"])
                        for artifact in found.get("artifacts", [])
                        if artifact.get("metadata", {}).get(ABSENT) != 1
                    ]
                }
                for name, found in inputs.get("artifacts", {}).items()
            },
            "parameterValues": {
                name: resolve(value) if isinstance(value, str) else value
                for name, value in inputs.get("parameterValues", {}).items()
            },
        },
        "outputs": {
            **outputs,
            "artifacts": {
                name: {"artifacts": [_at(a, local_path) for a in found["artifacts"]]}
                for name, found in outputs.get("artifacts", {}).items()
                if _is_ours(found)
            },
            "outputFile": local_path(outputs["outputFile"]),
        },
    }


def from_executor(executor_output: Json) -> Json:
    """An ExecutorOutput as Kubeflow takes it: URIs in place of paths, also among the metadata."""
    return {
        **executor_output,
        "artifacts": {
            name: {"artifacts": [_told(_at(a, remote_uri)) for a in found["artifacts"]]}
            for name, found in executor_output.get("artifacts", {}).items()
        },
    }


def _input(artifact: Json, declared: Json) -> Json:
    metadata = {name: _unwrapped(value) for name, value in artifact.get("metadata", {}).items()}
    given = artifact.get("type", {})
    is_typed = bool(given.get("instanceSchema") or given.get("schemaTitle"))
    return {
        **_at(artifact, local_path),
        "type": given if is_typed else declared,
        "metadata": metadata,
    }


def _at(artifact: Json, place: Callable[[str], str]) -> Json:
    return {**artifact, "uri": place(artifact.get("uri", ""))}


def _told(artifact: Json) -> Json:
    """Without nulls, which the launcher refuses."""
    metadata = {
        name: remote_uri(value) if isinstance(value, str) else value
        for name, value in artifact.get("metadata", {}).items()
        if value is not None
    }
    return {**artifact, "metadata": metadata}


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        [(key, inner)] = value.items()
        if (key == "struct" and isinstance(inner, dict)) or (
            key == "list" and isinstance(inner, list)
        ):
            return inner
    return value


def _is_ours(found: Json) -> bool:
    return not any(
        artifact.get("type", {}).get("schemaTitle", "").startswith("system.")
        for artifact in found["artifacts"]
    )
