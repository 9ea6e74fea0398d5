"""What a run did, read back from ML Metadata: the same for a person, the report and exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.ingestion.summary import IngestionSummary, read_summary
from components.lineage import (
    LABEL,
    OVERRIDE,
    WITHDRAWN,
    left_out,
    push_of,
    read_pushes,
)
from models.errors import DebutError
from models.record import TrainingRecord, read_record
from pipeline.config import Configuration, Gate
from pipeline.drift import NO_DRIFT, Drift, read_drift
from pipeline.evaluation import BASELINE, CANDIDATE, applicable_gates, read_metrics
from pipeline.run_artifacts import RunArtifacts, newest_run
from serving.version_labels import STABLE, versions_on_disk

_READ: Final = (
    standard_artifacts.ModelEvaluation.TYPE_NAME,
    Quarantine.TYPE_NAME,
    standard_artifacts.ModelRun.TYPE_NAME,
)


@dataclass(frozen=True)
class GateDecision:
    """One gate, the values it saw, and what it decided; baseline None on a first run."""

    gate: Gate
    candidate: float
    baseline: float | None

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound and, against a baseline, the tolerance.

        A slice without data has no value, and a gate without a value does not pass.
        """
        sign = 1.0 if self.gate.direction == "higher" else -1.0
        if not sign * self.candidate >= sign * self.gate.bound:
            return False
        if self.baseline is None or self.gate.tolerance is None:
            return True
        return sign * (self.candidate - self.baseline) >= -self.gate.tolerance

    @classmethod
    def of(
        cls, gate: Gate, metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    ) -> GateDecision:
        """What a gate decides on model to slice to metric to value, as `read_metrics` reads it."""
        baseline = metrics.get(BASELINE)
        return cls(
            gate=gate,
            candidate=metrics[CANDIDATE].get(gate.slice, {}).get(gate.metric, float("nan")),
            baseline=baseline.get(gate.slice, {}).get(gate.metric) if baseline else None,
        )

    def explain(self) -> str:
        """The metric, the slice and the values, in one phrase."""
        gate = self.gate
        worse = "below" if gate.direction == "higher" else "above"
        compared = (
            ""
            if self.baseline is None or gate.tolerance is None
            else f", baseline {self.baseline:.4f} with tolerance {gate.tolerance:g}"
        )
        return (
            f"{gate.metric} on slice {gate.slice} is {self.candidate:.4f} "
            f"(refused {worse} {gate.bound:g}{compared})"
        )


@dataclass(frozen=True)
class Outcome:
    """Everything a run produced that people ask for.

    Attributes:
        run_id: TFX's, the time the run started.
        metrics: model ("candidate", "baseline") to slice to metric to value.
        blessed: Evaluator's decision.
        infra_blessed: InfraValidator's decision.
        version: folder of the pushed version, None where nothing was pushed.
        label: of that version when it was pushed.
        override: why a refusal was passed over; empty where none was.
        withdrawn: why the model was not pushed though blessed: a rollback's reason; else empty.
        is_repeat: nothing had changed since an earlier run, which had pushed that version.
        durations: seconds per node of this run.
        drift: from the last run that pushed.
        served: the newest version; another one than `version` where something was pushed since.
        left_out: versions made without training after the run's data were read, whose changes
            `version` does not have.
    """

    run_id: str
    summary: IngestionSummary
    training: TrainingRecord
    metrics: dict[str, dict[str, dict[str, float]]]
    decisions: tuple[GateDecision, ...]
    blessed: bool
    infra_blessed: bool
    version: Path | None
    is_repeat: bool
    durations: dict[str, float]
    label: str = STABLE
    override: str = ""
    withdrawn: str = ""
    served: str = ""
    left_out: tuple[int, ...] = ()
    drift: Drift = NO_DRIFT

    def explain_left_out(self) -> str:
        """Which changes the pushed version lacks, and what brings them back; empty for none."""
        if self.version is None or not self.left_out:
            return ""
        return (
            f"Version {self.version.name} lacks what `debut items` or `debut explore` took in "
            "after this run's data were read, as versions "
            f"{', '.join(map(str, self.left_out))}. Give the same files to them again, or put "
            "these into the data folder for the next run."
        )


def read_outcome(metadata: Path, config: Configuration, durations: dict[str, float]) -> Outcome:
    """Read the newest run of the pipeline.

    Args:
        metadata: the SQLite file of ML Metadata.
        config: of that run; names the gates.
        durations: seconds per node.

    Raises:
        DebutError: what the cache names is gone; or an earlier run of the same has pushed the
            model, and neither that version nor one that was made of it is there.
    """
    run = newest_run(metadata)
    evaluation, quarantine, record = (_folder(run, name) for name in _READ)
    metrics = read_metrics(evaluation)
    summary = read_summary(str(quarantine))
    gates = applicable_gates(config.gates.model, by_span=len(summary.spans) > 1)
    blessing = run.artifact(standard_artifacts.ModelBlessing.TYPE_NAME)
    infra = run.artifact(standard_artifacts.InfraBlessing.TYPE_NAME)
    pushed = run.artifact(standard_artifacts.PushedModel.TYPE_NAME)
    destination = pushed.custom_properties["pushed_destination"].string_value
    version = Path(destination) if destination else None
    is_repeat = run.is_cached(pushed)
    if version is not None and is_repeat:
        version = _standing(run, version)
    return Outcome(
        run_id=run.name,
        summary=summary,
        training=read_record(record),
        metrics=metrics,
        decisions=tuple(GateDecision.of(gate, metrics) for gate in gates),
        blessed=blessing.custom_properties["blessed"].int_value == 1,
        infra_blessed=infra.custom_properties["blessed"].int_value == 1,
        version=version,
        is_repeat=is_repeat,
        durations=durations,
        label=pushed.custom_properties[LABEL].string_value or STABLE,
        override=pushed.custom_properties[OVERRIDE].string_value,
        withdrawn=pushed.custom_properties[WITHDRAWN].string_value,
        served=_newest(version.parent) if version else "",
        left_out=_left_out(run, version) if version and not is_repeat else (),
        drift=read_drift(run),
    )


def _folder(run: RunArtifacts, type_name: str) -> Path:
    """Of an artifact that the run made, or took from the cache without a look at its files."""
    folder = run.folder(type_name)
    if folder is None:
        raise DebutError(
            f"The cache names {run.artifact(type_name).uri}, which is gone: it was removed, or the "
            "root was moved. Run again with --set run.enable_cache=false."
        )
    return folder


def _left_out(run: RunArtifacts, version: Path) -> tuple[int, ...]:
    data = run.artifact(Quarantine.TYPE_NAME).id
    pushes = left_out(run.store, int(version.name), data=data)
    return tuple(push.version for push in pushes)


def _standing(run: RunArtifacts, version: Path) -> Path:
    """The version, or where it was removed, the newest one if it holds the same trained model.

    Raises:
        DebutError: neither is there.
    """
    if version.is_dir():
        return version
    pushes = read_pushes(run.store)
    newest = _newest(version.parent)
    own, latest = push_of(pushes, int(version.name)), push_of(pushes, int(newest or 0))
    if own is None or latest is None or own.model != latest.model:
        raise DebutError(
            f"Nothing has changed since an earlier run pushed {version}, but that folder is gone. "
            "Run again with --set run.enable_cache=false to push the model anew."
        )
    return version.with_name(newest)


def _newest(base: Path) -> str:
    return next(map(str, versions_on_disk(base)), "")
