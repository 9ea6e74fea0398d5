"""What Evaluator measures, on which slices, and which gates decide.

A recall in a slice is among all items; a *cold* recall is among the items that training never
saw, which is the question a shop asks about its new products.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import tensorflow_model_analysis as tfma

from models import features, metrics
from models.errors import BadInput
from pipeline.config import Gate

SIGNATURE: Final = "evaluate"
BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"
KS: Final = (10, 20, 50)

# What a person looks at first; the report holds the others too.
HEADLINE_METRICS: Final = (
    metrics.SQUARED_ERROR,
    "recall_at_20",
    "ndcg_at_20",
    "mrr_at_20",
    "cold_recall_at_20",
    "cold_ndcg_at_20",
)

SLICES: Final = {
    "overall": tfma.SlicingSpec(),
    "seen": tfma.SlicingSpec(feature_values={features.ITEM_STATE: features.SEEN.decode()}),
    "new": tfma.SlicingSpec(feature_values={features.ITEM_STATE: features.NEW.decode()}),
}


def evaluation_metrics() -> dict[str, tfma.metrics.Metric]:
    """All metrics by the name that gates and reports use."""
    found: dict[str, tfma.metrics.Metric] = {metrics.SQUARED_ERROR: metrics.SquaredError()}
    for cold in (False, True):
        for gain in ("recall", "ndcg", "mrr"):
            for k in KS:
                name = f"{'cold_' if cold else ''}{gain}_at_{k}"
                found[name] = metrics.RankingMetric(gain=gain, k=k, cold=cold, name=name)
    return found


def evaluation_config(gates: Iterable[Gate]) -> tfma.EvalConfig:
    """TFMA's configuration: metrics, slices, value and change thresholds.

    Raises:
        BadInput: a gate names a metric that is not measured.
    """
    gates = list(gates)
    unknown = sorted({gate.metric for gate in gates} - set(evaluation_metrics()))
    if unknown:
        raise BadInput(
            f"gates.model names {', '.join(unknown)}, which is no metric. There are "
            f"{', '.join(evaluation_metrics())}."
        )
    specs = tfma.metrics.specs_from_metrics(
        [
            *evaluation_metrics().values(),
            metrics.RatingCounts(),
            tfma.metrics.ExampleCount(name="example_count"),
        ]
    )
    for spec in specs:
        for metric in spec.metrics:
            _add_thresholds(metric, [g for g in gates if _name(metric) == g.metric])
    return tfma.EvalConfig(
        # Any other type makes TFMA load the model through Keras to look at it.
        model_specs=[tfma.ModelSpec(signature_name=SIGNATURE, model_type="tf_generic")],
        slicing_specs=list(SLICES.values()),
        metrics_specs=specs,
    )


def read_metrics(evaluation: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Model ("candidate", "baseline") to slice to metric to value, from Evaluator's folder."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for slice_metrics in tfma.load_metrics(str(evaluation)):
        keys = slice_metrics.slice_key.single_slice_keys
        name = keys[0].bytes_value.decode() if keys else "overall"
        for entry in slice_metrics.metric_keys_and_values:
            if entry.key.is_diff or entry.key.name == metrics.RATING_COUNTS:
                continue
            model = BASELINE if entry.key.model_name == BASELINE else CANDIDATE
            values = found.setdefault(model, {}).setdefault(name, {})
            values[entry.key.name] = entry.value.double_value.value
    return found


def read_rating_counts(evaluation: Path) -> list[float]:
    """Of the candidate on all held-out interactions; empty where an older Debut measured none."""
    for slice_metrics in tfma.load_metrics(str(evaluation)):
        for entry in slice_metrics.metric_keys_and_values:
            if (
                entry.key.name == metrics.RATING_COUNTS
                and not slice_metrics.slice_key.single_slice_keys
                and not entry.key.is_diff
                and entry.key.model_name != BASELINE
            ):
                return list(entry.value.array_value.float64_values)
    return []


def _add_thresholds(metric: tfma.MetricConfig, gates: list[Gate]) -> None:
    for gate in gates:
        higher = gate.direction == "higher"
        bound = (
            tfma.GenericValueThreshold(lower_bound={"value": gate.bound})
            if higher
            else tfma.GenericValueThreshold(upper_bound={"value": gate.bound})
        )
        # Absolute: a relative change against a baseline of 0 is NaN and always refuses.
        change = tfma.GenericChangeThreshold(
            direction=(
                tfma.MetricDirection.HIGHER_IS_BETTER
                if higher
                else tfma.MetricDirection.LOWER_IS_BETTER
            ),
            absolute={"value": -gate.tolerance if higher else gate.tolerance},
        )
        metric.per_slice_thresholds.append(
            tfma.PerSliceMetricThreshold(
                slicing_specs=[SLICES[gate.slice]],
                threshold=tfma.MetricThreshold(value_threshold=bound, change_threshold=change),
            )
        )


def _name(metric: tfma.MetricConfig) -> str:
    name: str = json.loads(metric.config).get("name", "") if metric.config else ""
    return name
