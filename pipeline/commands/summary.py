"""What `debut run` prints when the pipeline has ended."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.ingestion.reasons import most_told
from components.ingestion.summary import FileCounts, IngestionSummary
from models.metrics import SQUARED_ERROR
from models.record import TrainingRecord, measured_on
from pipeline.commands.terminal import metric_words, new_table, print_table
from pipeline.counted import counted
from pipeline.evaluation import COLD, HEADLINE_METRICS, SLICES, says_something, span_slice
from pipeline.outcome import GateDecision, Outcome
from serving.version_labels import CANARY


def print_summary(console: Console, outcome: Outcome, *, report: Path | None, root: Path) -> None:
    """Print data, training, metrics, decisions, the version and where the report lies."""
    console.print()
    training = outcome.training
    warnings = filter(None, (rule.warning for rule in training.rules))
    lost = (
        f"tracking.{name} failed, and has a part of the training at most; run.log says why."
        for name in training.untracked
    )
    for line in (*_data_lines(outcome.summary), *warnings, *lost):
        console.print(line, soft_wrap=True)
    console.print()
    compared = "baseline in brackets" if "baseline" in outcome.metrics else "no baseline yet"
    step = outcome.training.kept_step
    for title, table in {
        f"Before and after training, which kept step {step}": _training_table(outcome.training),
        f"Held-out interactions by slice, {compared}": _metrics_table(outcome.metrics),
        **_span_tables(outcome, compared),
        "Gates": _decisions_table(outcome.decisions),
    }.items():
        print_table(console, title, table)
    if idle := outcome.explain_idle_gates():
        console.print(idle, soft_wrap=True)
    if outcome.drift.verdict in ("notice", "alert"):
        console.print(
            f"{outcome.drift.verdict.capitalize()}: the predicted ratings have moved since run "
            f"{outcome.drift.since} (stability index {outcome.drift.ratings:.3f}).",
            soft_wrap=True,
        )
    if outcome.override:
        console.print(f"A gate's refusal was overridden: {outcome.override}", soft_wrap=True)
    if outcome.version is not None:
        console.print(_pushed(outcome, outcome.version.name, root), soft_wrap=True)
    if lacking := outcome.explain_left_out():
        console.print(lacking, soft_wrap=True)
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True)


def _pushed(outcome: Outcome, version: str, root: Path) -> str:
    at = f"--root {shlex.quote(str(root))}"
    if since := outcome.explain_repeat():
        if outcome.later:
            return f"{since}; `debut versions {at}`."
        return f"{since}; `debut serve {at}` serves it."
    canary = f" as the canary; `debut promote {at}` makes it stable"
    what = canary if outcome.label == CANARY else ""
    return f"Pushed version {version}{what}; `debut serve {at}` serves it."


def _data_lines(summary: IngestionSummary) -> list[str]:
    lines = [
        f"{counted(summary.items, 'item', 'items')} ({summary.new_products:,} new), "
        f"{counted(summary.users, 'user', 'users')}; "
        "interactions: "
        + ", ".join(f"{split} {count:,}" for split, count in summary.splits.items())
        + "."
    ]
    for file in summary.files:
        if file.quarantined:
            lines.append(
                f"{file.name}: {file.quarantined:,} of {file.read:,} rows were set aside: "
                f"{_reasons(file)}"
            )
    return lines


def _reasons(file: FileCounts) -> str:
    told = [(f"{one.reason} ({one.count:,})", one.count) for one in file.reasons]
    return most_told(told, others="others, see the report")


def _training_table(training: TrainingRecord) -> Table:
    table = new_table("metric", "measured on", "before", "after", numbers_from=2)
    rows = [
        (name, measured_on(name), training.before.get(name), after)
        for name, after in training.after.items()
    ]
    if tuned := training.fine_tuned:
        name = f"recall (fine-tuning {'kept' if tuned.kept else 'undone'})"
        rows.insert(0, (name, measured_on("recall"), tuned.before, tuned.after))
    for name, of, before, after in rows:
        table.add_row(metric_words(name), of, _number(before), _number(after))
    return table


def _metrics_table(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    candidate, baseline = found["candidate"], found.get("baseline")
    table = new_table("metric", *SLICES)
    for name in HEADLINE_METRICS:
        cells = []
        for slice_name in SLICES:
            told = says_something(name, slice_name)
            cells.append(_compared(candidate, baseline, slice_name, name) if told else "")
        table.add_row(metric_words(name), *cells)
    return table


def _span_tables(outcome: Outcome, compared: str) -> dict[str, Table]:
    """Recall and error of each span's interactions, where there are several spans."""
    spans = outcome.summary.spans
    if len(spans) < 2:
        return {}
    candidate, baseline = outcome.metrics["candidate"], outcome.metrics.get("baseline")
    table = new_table("metric", *(f"span {span}" for span in spans))
    for name in (SQUARED_ERROR, "recall_at_20", "cold_recall_at_20"):
        cells = []
        for span in spans:
            of = span_slice(span, is_new=name.startswith(COLD))
            cells.append(_compared(candidate, baseline, of, name))
        table.add_row(metric_words(name), *cells)
    return {f"Held-out interactions by span, {compared}": table}


def _compared(
    candidate: dict[str, dict[str, float]],
    baseline: dict[str, dict[str, float]] | None,
    slice_name: str,
    metric: str,
) -> str:
    cell = _number(candidate.get(slice_name, {}).get(metric))
    if baseline is not None:
        cell += f" ({_number(baseline.get(slice_name, {}).get(metric))})"
    return cell


def _decisions_table(decisions: tuple[GateDecision, ...]) -> Table:
    table = new_table(
        "decision", "metric", "slice", "candidate", "bound", "baseline", "tolerance",
        numbers_from=3,
    )  # fmt: skip
    for decision in decisions:
        gate = decision.gate
        table.add_row(
            "passed" if decision.passed else "refused",
            metric_words(gate.metric),
            gate.slice,
            _number(decision.candidate),
            f"{'≥' if gate.direction == 'higher' else '≤'} {gate.bound:g}",
            _number(decision.baseline),
            "–" if gate.tolerance is None else f"{gate.tolerance:g}",
            style="" if decision.passed else "red",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"
