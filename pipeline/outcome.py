"""What a run did, read back from ML Metadata: the same for a person, the report and exit codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.ingestion.summary import IngestionSummary, read_summary
from components.lineage import (
    DESTINATION,
    LABEL,
    OVERRIDE,
    WITHDRAWN,
    left_out,
    push_of,
    read_pushes,
)
from models.errors import DebutError
from models.metrics import Bin
from models.record import TrainingRecord, read_record
from pipeline.config import Configuration, Gate
from pipeline.counted import counted
from pipeline.drift import NO_DRIFT, Drift, read_drift
from pipeline.evaluation import (
    BASELINE,
    CANDIDATE,
    COLD,
    applicable_gates,
    read_calibration,
    read_metrics,
)
from pipeline.run_artifacts import RunArtifacts, newest_run
from serving.version_labels import STABLE, versions_on_disk

_READ: Final = (
    standard_artifacts.ModelEvaluation.TYPE_NAME,
    Quarantine.TYPE_NAME,
    standard_artifacts.ModelRun.TYPE_NAME,
)
# What a metric is where each list holds all items that are held out, whatever the model.
_WHOLE: Final = {f"{COLD}recall": 1, f"{COLD}coverage": 1, f"{COLD}gini": 0}


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
        if math.isnan(self.candidate):
            return (
                f"{gate.metric} on slice {gate.slice} has no value, for no interaction of it was "
                "held out (data.eval_user_share and data.new_item_share say how many are)"
            )
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


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What became of a run's candidate.

    Attributes:
        decisions: of the gates it was held to.
        blessed: Evaluator's decision.
        infra_blessed: InfraValidator's decision.
        version: folder of the pushed version, None where nothing was pushed.
        label: of that version when it was pushed.
        override: why a refusal was passed over; empty where none was.
        withdrawn: why the model was not pushed though blessed: a rollback's reason; else empty.
        is_repeat: nothing had changed since an earlier run, which had pushed that version.
        served: the newest version; another one than `version` where something was pushed since.
        is_finished: whether the run came to its push.
    """

    decisions: tuple[GateDecision, ...]
    blessed: bool
    infra_blessed: bool
    version: Path | None
    is_repeat: bool
    label: str = STABLE
    override: str = ""
    withdrawn: str = ""
    served: str = ""
    is_finished: bool = True

    @property
    def later(self) -> str:
        """The newest version where something was pushed since `version`; else empty."""
        return self.served if self.version and self.served != self.version.name else ""

    def explain_repeat(self) -> str:
        """What a run that pushed nothing, as nothing had changed, leaves in place; else empty."""
        if self.version is None or not self.is_repeat:
            return ""
        since = f"Nothing has changed since the run that pushed version {self.version.name}"
        return f"{since}, and version {self.later} came after it" if self.later else since


@dataclass(frozen=True, kw_only=True)
class Outcome(Ending):
    """Everything a run produced that people ask for.

    Attributes:
        run_id: TFX's, the time the run started.
        metrics: model ("candidate", "baseline") to slice to metric to value.
        calibration: of the candidate's ratings, by slice.
        durations: seconds per node of this run.
        drift: from the last run that pushed.
        left_out: versions made without training after the run's data were read, whose changes
            `version` does not have.
    """

    run_id: str
    summary: IngestionSummary
    training: TrainingRecord
    metrics: dict[str, dict[str, dict[str, float]]]
    durations: dict[str, float]
    calibration: Mapping[str, Sequence[Bin]] = field(default_factory=dict)
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

    def explain_idle_gates(self) -> str:
        """Which gates no model can fail, as a list holds all items held out; empty for none."""
        held_out = self.summary.held_out_items
        gated = dict.fromkeys(decision.gate.metric for decision in self.decisions)
        values = {name: _of_whole_lists(name, held_out) for name in gated}
        idle = [f"{name} is {value}" for name, value in values.items() if value is not None]
        if not idle:
            return ""
        few = counted(held_out, "item is", "items are")
        them = "it" if held_out == 1 else "them"
        told_apart = " cold_ndcg_at_20 tells models apart also by few." if held_out > 1 else ""
        return (
            f"Only {few} held out as new, so {' and '.join(idle)} for every model that knows "
            f"{them}, and gates on that tell nothing. A greater data.new_item_share holds more "
            f"out.{told_apart}"
        )


def _of_whole_lists(metric: str, held_out: int) -> int | None:
    """What a metric is where each list holds all items that are held out; None where none does."""
    name, _, places = metric.rpartition("_at_")
    value = _WHOLE.get(name)
    return None if value is None or not 0 < held_out <= int(places) else value


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
    ending = read_ending(run, tuple(GateDecision.of(gate, metrics) for gate in gates))
    version, is_repeat = ending.version, ending.is_repeat
    if version is not None and is_repeat:
        ending = replace(ending, version=_standing(run, version))
    return Outcome(
        **vars(ending),
        run_id=run.name,
        summary=summary,
        training=read_record(record),
        metrics=metrics,
        calibration=read_calibration(evaluation),
        durations=durations,
        left_out=_left_out(run, version) if version and not is_repeat else (),
        drift=read_drift(run),
    )


def read_ending(run: RunArtifacts, decisions: tuple[GateDecision, ...]) -> Ending:
    """Read what became of the candidate of a run that Evaluator judged by these decisions."""
    blessed = _is_blessed(run, standard_artifacts.ModelBlessing.TYPE_NAME)
    infra = standard_artifacts.InfraBlessing.TYPE_NAME
    infra_blessed = not run.has(infra) or _is_blessed(run, infra)
    if not run.has(standard_artifacts.PushedModel.TYPE_NAME):
        return Ending(
            decisions=decisions, blessed=blessed, infra_blessed=infra_blessed, version=None,
            is_repeat=False, is_finished=False,
        )  # fmt: skip
    pushed = run.artifact(standard_artifacts.PushedModel.TYPE_NAME)
    destination = pushed.custom_properties[DESTINATION].string_value
    version = Path(destination) if destination else None
    return Ending(
        decisions=decisions,
        blessed=blessed,
        infra_blessed=infra_blessed,
        version=version,
        is_repeat=run.is_cached(pushed),
        label=pushed.custom_properties[LABEL].string_value or STABLE,
        override=pushed.custom_properties[OVERRIDE].string_value,
        withdrawn=pushed.custom_properties[WITHDRAWN].string_value,
        served=_newest(version.parent) if version else "",
    )


def _is_blessed(run: RunArtifacts, type_name: str) -> bool:
    return bool(run.artifact(type_name).custom_properties["blessed"].int_value == 1)


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
