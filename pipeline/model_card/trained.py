"""The card of a version that a run trained, from ML Metadata and what its artifacts hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.ingestion.options import DataOptions
from components.ingestion.summary import IngestionSummary, read_summary
from components.lineage import Push
from models.metrics import EXAMPLE_COUNT
from models.record import TrainingRecord, read_record
from pipeline.evaluation import evaluation_metrics, read_metrics, recorded_gates, says_something
from pipeline.outcome import GateDecision
from pipeline.run_artifacts import RunArtifacts
from pipeline.versions import interaction_days

Json = dict[str, Any]

SCHEMA: Final = "0.0.2"
_FEW: Final = 500  # held-out interactions of a slice, below which its values say little
_EVALUATION: Final = standard_artifacts.ModelEvaluation.TYPE_NAME
_READ: Final = (_EVALUATION, Quarantine.TYPE_NAME, standard_artifacts.ModelRun.TYPE_NAME)
_LINEAGE: Final = (Quarantine.TYPE_NAME, standard_artifacts.Model.TYPE_NAME, _EVALUATION)


def trained_card(run: RunArtifacts, push: Push) -> Json | None:
    """The card of a push that a run made, in the toolkit's form; None where its artifacts are gone.

    Args:
        run: behind the push.
        push: its own.
    """
    evaluation, quarantine, record = (run.folder(name) for name in _READ)
    if evaluation is None or quarantine is None or record is None:
        return None
    metrics = read_metrics(evaluation)
    config = run.parameter(_EVALUATION, "eval_config")
    decisions = [GateDecision.of(gate, metrics) for gate in recorded_gates(config)]
    summary = read_summary(str(quarantine))
    options = DataOptions.model_validate_json(run.parameter(Quarantine.TYPE_NAME, "options"))
    training = read_record(record)
    return {
        "schema_version": SCHEMA,
        "model_details": {
            "name": "debut",
            "overview": "Recommends items to users, and users for items, new items included.",
            "references": [{"reference": line} for line in _lineage(run, push)],
        },
        "model_parameters": {
            "model_architecture": architecture(training),
            "data": _data(summary, options, interaction_days(run.artifacts())),
            "input_format": "User ids, item ids and plain texts, by signature.",
            "output_format": "Ranked ids with scores, ratings in [0, 1], embeddings, reasons.",
        },
        "quantitative_analysis": {
            "performance_metrics": [*_gated(decisions), *measured(metrics["candidate"])]
        },
        "considerations": {
            "users": [{"description": "Engineers who own the recommendations of a shop."}],
            "use_cases": [
                {"description": "Lists for the customers of the shop that the data is of."},
                {"description": "Audiences of products, before anybody has bought them."},
            ],
            "limitations": [
                {"description": text}
                for text in _limits(summary, metrics["candidate"], push.override)
            ],
            "tradeoffs": [
                {
                    "description": "What is served learned from all interactions; the figures are "
                    "those of the same model judged by the train split alone."
                }
            ],
            "ethical_considerations": [_privacy(options)],
        },
    }


def architecture(training: TrainingRecord) -> str:
    """What the model is, and the rules that its lists keep."""
    kernel = ", ".join(f"{name} {value:g}" for name, value in training.kernel.items())
    rules = ", ".join(map(str, training.rules))
    return (
        f"Two towers over {training.encoder}, {training.parameters:,} trained parameters, started "
        f"{training.start}; new items inherit co-purchases by kernel ridge regression ({kernel})."
        + (f" Lists keep the rules of the shop: {rules}." if rules else "")
    )


def _data(
    summary: IngestionSummary, options: DataOptions, days: tuple[str, str] | None
) -> list[Json]:
    when = f", {days[0]} to {days[1]}" if days else ""
    splits = ", ".join(f"{size:,} {name}" for name, size in summary.splits.items())
    aside = sum(file.quarantined for file in summary.files)
    return [
        {
            "name": "interactions",
            "description": f"{sum(summary.splits.values()):,} of {summary.users:,} users{when}: "
            f"{splits}. {aside:,} rows of all files were set aside.",
            "sensitive": {
                "sensitive_data": [
                    "who bought what, under "
                    + ("pseudonyms" if options.pseudonym_key else "the ids of the data")
                ]
            },
        },
        {
            "name": "catalogue",
            "description": f"{summary.items:,} items, {summary.new_products:,} of them without any "
            f"interaction; {summary.held_out_items:,} were held out as if they were new.",
        },
    ]


def _gated(decisions: Iterable[GateDecision]) -> list[Json]:
    found = []
    for decision in decisions:
        gate = decision.gate
        side = "at least" if gate.direction == "higher" else "at most"
        compared = (
            "no baseline" if decision.baseline is None else f"baseline {decision.baseline:.4f}"
        )
        if decision.baseline is not None and gate.tolerance is not None:
            compared += f", tolerance {gate.tolerance:g}"
        found.append(
            {
                "type": f"gate: {gate.metric}",
                "slice": gate.slice,
                "value": f"{'passed' if decision.passed else 'refused'} with "
                f"{decision.candidate:.4f}: {side} {gate.bound:g}, {compared}",
            }
        )
    return found


def measured(metrics: Mapping[str, Mapping[str, float]]) -> list[Json]:
    """The values of a model by slice that say something there."""
    order = [*evaluation_metrics(), EXAMPLE_COUNT]
    return [
        {"type": name, "slice": slice_, "value": _told(name, values[name])}
        for slice_, values in metrics.items()
        for name in sorted(values, key=lambda name: order.index(name) if name in order else 99)
        if says_something(name, slice_) and not math.isnan(values[name])
    ]


def _told(name: str, value: float) -> str:
    return f"{value:.0f}" if name.endswith(EXAMPLE_COUNT) else f"{value:.4f}"


def _limits(
    summary: IngestionSummary, metrics: Mapping[str, Mapping[str, float]], override: str
) -> list[str]:
    few = [
        f"{name} ({values[EXAMPLE_COUNT]:.0f})"
        for name, values in metrics.items()
        if 0 < values.get(EXAMPLE_COUNT, 0) < _FEW
    ]
    said = [
        "Scores of different users are not comparable, except in audiences.",
        "Measured on one shop's past: a list that is shown changes what is bought.",
    ]
    if summary.is_implicit:
        said.append(
            "There are no ratings in the data: a rating is how likely a purchase is, "
            "beside a product that is drawn evenly."
        )
    if few:
        said.append(f"Slices with fewer than {_FEW} held-out interactions: {', '.join(few)}.")
    if override:
        said.append(f"A gate refused this model, and it was pushed all the same: {override}")
    return said


def _privacy(options: DataOptions) -> Json:
    return {
        "name": "The model holds what each user bought, and names users in audiences.",
        "mitigation_strategy": "User ids are pseudonyms made with a key that is not in the model."
        if options.pseudonym_key
        else "Nothing hides them: keep the model, and servers of it, as the shop's own data.",
    }


def _lineage(run: RunArtifacts, push: Push) -> Sequence[str]:
    made = [run.artifact(name) for name in _LINEAGE if run.has(name)]
    return [
        f"PushedModel {push.artifact}, pushed by run {run.name}",
        *(
            f"{artifact.type.rpartition('.')[2]} {artifact.id}: {_place(artifact.uri)}"
            for artifact in made
        ),
    ]


def _place(uri: str) -> str:
    """An artifact's folder below the root, so that a card says nothing of the machine."""
    _, found, below = uri.rpartition("/artifacts/")
    return f"artifacts/{below}" if found else below
