"""Runs the containers of a compiled spec one after the other, as open-source Kubeflow would.

What its driver and launcher do was read in their source (kubeflow/pipelines, backend/src/v2):
inputs without a type, numeric names, metadata through ML Metadata and back, remote URIs, only
files of a task's own inputs on its disk, and only files uploaded. The container is a process.
"""

import graphlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.object_stores import MOUNTS

Json = dict[str, Any]

PIPELINE_ROOT = "minio://mlpipeline/v2/artifacts"
REPOSITORY = Path(__file__).parents[2]


class TaskFailed(Exception):
    """A container ended with another code than 0."""

    def __init__(self, task: str, code: int, log: str) -> None:
        super().__init__(f"{task} ended with {code}:\n{log[-6000:]}")
        self.task, self.code, self.log = task, code, log


@dataclass(frozen=True)
class Place:
    """What a container sees of the machine it runs on."""

    store: Path  # stands for the object store: bucket/key
    work: Path  # local disks of the containers


Container = Callable[[Json, list[str], Path, Path], "subprocess.CompletedProcess[str]"]


@dataclass
class Cluster:
    """An object store, the metadata of what lies in it, and containers."""

    place: Place
    container: Container
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def run(self, spec: Json, name: str) -> dict[str, dict[str, Json]]:
        """Run every task of a PipelineSpec; returns output artifacts by task and key.

        Raises:
            TaskFailed: at the first one that fails.
        """
        outputs: dict[str, dict[str, Json]] = {}
        for task in order(spec):
            outputs[task] = self.run_task(spec, task, name, outputs)
        return outputs

    def run_task(
        self, spec: Json, task: str, run: str, earlier: Mapping[str, Mapping[str, Json]]
    ) -> dict[str, Json]:
        """Run one task on what earlier ones put out."""
        definition = spec["root"]["dag"]["tasks"][task]
        component = spec["components"][definition["componentRef"]["name"]]
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        disk = self.place.work / run / task
        (disk / "mounts").mkdir(parents=True)
        root = f"{PIPELINE_ROOT}/{spec['pipelineInfo']['name']}/{run}/{task}/{next(self._ids)}"
        executor_input = {
            "inputs": _inputs(definition, earlier),
            "outputs": {
                "artifacts": _outputs(component, root),
                "outputFile": str(disk / "output_metadata.json"),
            },
        }
        for artifact in _artifacts(executor_input["inputs"]):
            self._download(artifact["uri"], disk)
        for artifact in _artifacts(executor_input["outputs"]):
            _local(disk, artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            json.dumps(executor_input) if argument == "{{$}}" else argument
            for argument in executor["args"]
        ]
        done = self.container(executor, arguments, disk, self.place.work)
        (disk / "log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise TaskFailed(task, done.returncode, done.stdout + done.stderr)
        told = json.loads((disk / "output_metadata.json").read_text())
        found = {}
        for key, listed in executor_input["outputs"]["artifacts"].items():
            if key == "executor-logs":
                continue
            artifact = _merged(listed["artifacts"][0], told.get("artifacts", {}).get(key))
            assert artifact["uri"].startswith(f"{root}/"), "the launcher refuses other folders"
            self._upload(artifact["uri"], disk)
            found[key] = {
                "name": str(next(self._ids)),
                "uri": artifact["uri"],
                "type": {"instanceSchema": ""},
                "metadata": {
                    **{name: stored(value) for name, value in artifact["metadata"].items()},
                    "display_name": key,
                    "store_session_info": "{}",
                },
            }
        return found

    def files(self, uri: str) -> Path:
        """Where the object store keeps an artifact."""
        return self.place.store / uri.removeprefix("minio://")

    def _download(self, uri: str, disk: Path) -> None:
        _copy_files(self.files(uri), _local(disk, uri))

    def _upload(self, uri: str, disk: Path) -> None:
        _copy_files(_local(disk, uri), self.files(uri))


def order(spec: Json) -> list[str]:
    """Tasks, each after those it needs; alphabetically where that leaves a choice."""
    return list(graphlib.TopologicalSorter(needs(spec)).static_order())


def needs(spec: Json) -> dict[str, set[str]]:
    """Of each task, those that have to be done before it."""
    tasks = spec["root"]["dag"]["tasks"]
    return {
        name: {
            *tasks[name].get("dependentTasks", ()),
            *(
                source["taskOutputArtifact"]["producerTask"]
                for source in tasks[name].get("inputs", {}).get("artifacts", {}).values()
            ),
        }
        for name in sorted(tasks)
    }


def process(
    executor: Json, arguments: list[str], disk: Path, _: Path, **more: str
) -> "subprocess.CompletedProcess[str]":
    """The container as a process in an empty folder; `python` is the one of the tests.

    `more` is added to its environment.
    """
    command = [*executor["command"], *arguments]
    assert command[0] == "python"
    folder = Path(tempfile.mkdtemp(prefix="cwd-", dir=disk))
    return subprocess.run(
        [sys.executable, *command[1:]],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            MOUNTS: str(disk / "mounts"),
            **more,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def stored(value: Any) -> Any:
    """What comes back of a value that goes through ML Metadata."""
    match value:
        case bool():
            return int(value)
        case int() | float():
            return float(value)
        case str():
            return value
        case list():
            return {"list": value}
        case dict():
            return {"struct": value}
    raise AssertionError(f"the launcher refuses {value!r}")


def _inputs(definition: Json, earlier: Mapping[str, Mapping[str, Json]]) -> Json:
    given = definition.get("inputs", {})
    return {
        "parameterValues": {
            name: value["runtimeValue"]["constant"]
            for name, value in given.get("parameters", {}).items()
        },
        "artifacts": {
            name: {"artifacts": [_produced(source["taskOutputArtifact"], earlier)]}
            for name, source in given.get("artifacts", {}).items()
        },
    }


def _produced(source: Json, earlier: Mapping[str, Mapping[str, Json]]) -> Json:
    return earlier[source["producerTask"]][source["outputArtifactKey"]]


def _outputs(component: Json, root: str) -> Json:
    declared = {
        name: output["artifactType"]
        for name, output in component.get("outputDefinitions", {}).get("artifacts", {}).items()
    }
    declared["executor-logs"] = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
    return {
        name: {"artifacts": [{"name": name, "uri": f"{root}/{name}", "type": kind}]}
        for name, kind in declared.items()
    }


def _artifacts(side: Json) -> list[Json]:
    return [artifact for found in side["artifacts"].values() for artifact in found["artifacts"]]


def _merged(artifact: Json, told: Json | None) -> Json:
    [said] = told["artifacts"] if told else [{}]
    return {
        "uri": said.get("uri") or artifact["uri"],
        "metadata": {**artifact.get("metadata", {}), **said.get("metadata", {})},
    }


def _local(disk: Path, uri: str) -> Path:
    return disk / "mounts" / "minio" / uri.removeprefix("minio://")


def _copy_files(source: Path, target: Path) -> None:
    """As to and from an object store, which has no empty folders."""
    for file in source.rglob("*"):
        if file.is_file():
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
