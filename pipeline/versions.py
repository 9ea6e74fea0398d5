"""What each pushed version is: where it came from, what was measured, and who is served it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import standard_artifacts

from components.lineage import (
    EXPLORE,
    ITEMS_ADD,
    ITEMS_REFRESH,
    ITEMS_REMOVE,
    REASON,
    ROLLBACK,
    Push,
    override_behind,
    push_of,
    read_pushes,
    withdrawn_models,
)
from components.metadata_store import read_store
from models import features
from pipeline.evaluation import CANDIDATE, read_metrics, recorded_gates
from pipeline.layout import metadata_file, serving_folder
from pipeline.newest import newest_version
from pipeline.run_artifacts import RunArtifacts, run_behind
from serving.version_labels import read_labels, versions_on_disk

NOT_RECORDED: Final = "not recorded"
_KINDS: Final = {
    ITEMS_ADD: "items add",
    ITEMS_REMOVE: "items remove",
    ITEMS_REFRESH: "items refresh",
    EXPLORE: "explore",
    ROLLBACK: "rollback",
}
_STATISTICS: Final = "StatisticsInteractions"
_EVALUATION: Final = standard_artifacts.ModelEvaluation.TYPE_NAME


@dataclass(frozen=True)
class Version:
    """One version folder.

    Attributes:
        version: its number.
        pushed: when, ISO 8601 in UTC; from ML Metadata, else from the folder.
        by: TFX's run id, or `items add`, `items remove`, `items refresh`, `explore` or `rollback`
            with the person, or that it isn't recorded.
        base: the version it was made of; None where a run trained it.
        data: first and last day of the interactions of the run behind it; None where unknown.
        metrics: `metric slice` to value, of the gates of the run behind it.
        gates: `passed`, or that they were overridden and why; empty of an unknown run.
        reason: of a rollback.
        labels: `stable`, `canary`, both or neither.
        is_newest: whether a request without version and label gets it.
        withdrawn: why a rollback took its model out of service; empty where none did.
        megabytes: of the folder, in units of a million bytes.
    """

    version: int
    pushed: str
    by: str
    base: int | None
    data: tuple[str, str] | None
    metrics: Mapping[str, float]
    gates: str
    reason: str
    labels: tuple[str, ...]
    is_newest: bool
    withdrawn: str
    megabytes: float


def read_versions(root: Path) -> list[Version]:
    """The versions that a root holds, newest first.

    Raises:
        BadInput: there is none.
    """
    serving = serving_folder(root)
    newest = int(newest_version(serving).name)
    store = read_store(metadata_file(root))
    pushes = read_pushes(store)
    withdrawn = withdrawn_models(pushes)
    labels = read_labels(serving)
    runs: dict[int, _Run] = {}
    found = []
    for number in versions_on_disk(serving):
        push = push_of(pushes, number)
        run = None
        if push is not None and push.run is not None:
            if push.run not in runs:
                runs[push.run] = _read_run(run_behind(store, push.run))
            run = runs[push.run]
        folder = serving / str(number)
        found.append(
            Version(
                version=number,
                pushed=_time(push.seconds if push else folder.stat().st_ctime),
                by=_by(push),
                base=push.base if push else None,
                data=run.data if run else None,
                metrics=run.metrics if run else {},
                gates=_gates(push, pushes),
                reason=push.details.get(REASON, "") if push else "",
                labels=tuple(label for label, held in sorted(labels.items()) if held == number),
                is_newest=number == newest,
                withdrawn=withdrawn.get(push.model, "") if push and push.model else "",
                megabytes=_size(folder) / 1e6,
            )
        )
    return found


@dataclass(frozen=True)
class _Run:
    """What is shown of the run behind a version."""

    data: tuple[str, str] | None
    metrics: Mapping[str, float]


def _read_run(run: RunArtifacts) -> _Run:
    return _Run(interaction_days(run.artifacts()), _gated_metrics(run))


def _gated_metrics(run: RunArtifacts) -> dict[str, float]:
    """Of each gate what the candidate measured; nothing once the evaluation was removed."""
    evaluation = run.folder(_EVALUATION)
    if evaluation is None:
        return {}
    measured = read_metrics(evaluation)[CANDIDATE]
    return {
        f"{gate.metric} {gate.slice}": measured[gate.slice][gate.metric]
        for gate in recorded_gates(run.parameter(_EVALUATION, "eval_config"))
        if gate.metric in measured.get(gate.slice, {})
    }


def interaction_days(artifacts: Sequence[mlmd.Artifact]) -> tuple[str, str] | None:
    """First and last day of the interactions, by the statistics among a run's artifacts."""
    statistics = [
        a for a in artifacts if a.type == "ExampleStatistics" and f"/{_STATISTICS}/" in a.uri
    ]
    return _days(Path(statistics[-1].uri)) if statistics else None


def _days(statistics: Path) -> tuple[str, str] | None:
    """First and last day among the interactions of all splits."""
    low, high = [], []
    for file in statistics.glob("Split-*/FeatureStats.pb"):
        read = statistics_pb2.DatasetFeatureStatisticsList()
        read.ParseFromString(file.read_bytes())
        for data_set in read.datasets:
            for feature in data_set.features:
                if feature.path.step[0] == features.TIMESTAMP and data_set.num_examples:
                    low.append(feature.num_stats.min)
                    high.append(feature.num_stats.max)
    return (_time(min(low))[:10], _time(max(high))[:10]) if low else None


def _by(push: Push | None) -> str:
    if push is None:
        return NOT_RECORDED
    kind = _KINDS.get(push.kind)
    return f"{kind} by {push.by}" if kind else push.by


def _gates(push: Push | None, pushes: Sequence[Push]) -> str:
    if push is None:
        return ""
    override = override_behind(pushes, push)
    if override:
        return f"overridden: {override}"
    return "passed" if push.run is not None else ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
