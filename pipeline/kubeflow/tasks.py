"""Limits, nodes, caching and retries of each task: from the configuration into the spec.

What TFX's compiler has no words for is written into the compiled spec afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from models.errors import BadInput
from pipeline.config import KubeflowOptions, TaskOptions
from pipeline.kubeflow.lookups import REGISTRATION

EVERY: Final = "all"

Spec = dict[str, Any]

_READS_OUTSIDE: Final = ("DataFolderExampleGen", "PreviousStatistics", "ServedModel")
_WRITES_OUTSIDE: Final = ("AtomicPusher", REGISTRATION)
_JUDGES: Final = ("Validator", "DriftValidator", "SkewValidator")
# Linux takes 131,071 bytes as one argument (MAX_ARG_STRLEN), and Kubeflow adds the artifacts.
_MOST_CONSTANTS: Final = 100_000
# Beam would start a worker for each core of the node, whatever the limit of the task.
_A_WORKER_FOR_EACH_CORE: Final = "--direct_num_workers=0"


def options_by_task(entries: Sequence[TaskOptions], tasks: Iterable[str]) -> dict[str, TaskOptions]:
    """The options of each task: its own entry over the one for `all`.

    A task that reads or changes what is no artifact is cached only where an entry of its own says
    so, as its inputs don't tell whether it would do the same again. One that judges is not tried
    again, as it would judge the same.

    Raises:
        BadInput: an entry names a task that is not there, or one twice.
    """
    names = [entry.task for entry in entries]
    known = sorted(tasks)
    for name in names:
        if name != EVERY and name not in known:
            raise BadInput(
                f"kubeflow.tasks: there is no task {name!r}. It is {EVERY!r} or one of "
                f"{', '.join(known)}."
            )
        if names.count(name) > 1:
            raise BadInput(f"kubeflow.tasks names {name!r} twice. Write one entry for it.")
    given = {entry.task: entry.model_dump(exclude_none=True) for entry in entries}
    return {
        task: TaskOptions(**given.get(EVERY, {}) | _cautious(task) | given.get(task, {})
                          | {"task": task})
        for task in known
    }  # fmt: skip


def set_options(spec: Spec, options: KubeflowOptions) -> None:
    """Write them into a PipelineSpec in its JSON form."""
    tasks = spec["root"]["dag"]["tasks"]
    for name, wanted in options_by_task(options.tasks, tasks).items():
        task = tasks[name]
        if not wanted.cache:
            task.pop("cachingOptions", None)  # there where `run.enable_cache` is on
        if wanted.retries:
            task["retryPolicy"] = {
                "maxRetryCount": wanted.retries,
                "backoffDuration": f"{options.backoff}s",
                "backoffFactor": 2.0,
            }
        container = _executors(spec)[_label(spec, name)]["container"]
        if resources := _resources(wanted):
            container["resources"] = resources
        if wanted.cpu is not None:
            workers = f"--direct_num_workers={math.ceil(wanted.cpu)}"
            container["args"] = [
                workers if argument == _A_WORKER_FOR_EACH_CORE else argument
                for argument in container["args"]
            ]


def check_constants(spec: Spec) -> None:
    """Refuse what no container can be started with: all constants of a task are one argument.

    Raises:
        BadInput: a task has too many.
    """
    for name, task in spec["root"]["dag"]["tasks"].items():
        size = len(json.dumps(task.get("inputs", {}).get("parameters", {})).encode())
        if size > _MOST_CONSTANTS:
            raise BadInput(
                f"What is compiled into the task {name} has {size:,} bytes, and a container takes "
                f"{_MOST_CONSTANTS:,}. List fewer ids in the file that rules.file names: rules by "
                "category or price say the same of many."
            )


def platform_spec(spec: Spec, options: KubeflowOptions) -> Spec:
    """What only Kubernetes knows: volumes, nodes and taints (kfp_kubernetes' PlatformSpec)."""
    by_task = options_by_task(options.tasks, spec["root"]["dag"]["tasks"])
    executors = {
        _label(spec, name): _on_kubernetes(wanted, options) for name, wanted in by_task.items()
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _cautious(task: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if task.startswith(_READS_OUTSIDE) or task in _WRITES_OUTSIDE:
        found["cache"] = False
    if task.startswith(_JUDGES):
        found["retries"] = 0
    return found


def _resources(wanted: TaskOptions) -> Spec:
    found: Spec = {}
    if wanted.cpu is not None:
        found["cpuLimit"] = wanted.cpu
    if wanted.memory is not None:
        found["memoryLimit"] = wanted.memory
    if wanted.accelerator is not None:
        # An int64 is a text in the JSON form of a proto.
        count = str(wanted.accelerators or 1)
        found["accelerator"] = {"type": wanted.accelerator, "count": count}
    return found


def _on_kubernetes(wanted: TaskOptions, options: KubeflowOptions) -> Spec:
    found: Spec = {"pvcMount": [{"constant": options.claim, "mountPath": options.mount}]}
    if wanted.node_labels:
        found["nodeSelector"] = {"labels": dict(wanted.node_labels)}
    if wanted.tolerations:
        found["tolerations"] = [{"key": key, "operator": "Exists"} for key in wanted.tolerations]
    return found


def _label(spec: Mapping[str, Any], task: str) -> str:
    component = spec["root"]["dag"]["tasks"][task]["componentRef"]["name"]
    label: str = spec["components"][component]["executorLabel"]
    return label


def _executors(spec: Mapping[str, Any]) -> Spec:
    executors: Spec = spec["deploymentSpec"]["executors"]
    return executors
