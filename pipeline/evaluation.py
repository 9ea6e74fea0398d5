"""What Evaluator measures, on which slices, and which gates decide.

A recall in a slice is among all items; a *cold* recall is among the items that training never
saw, which is the question a shop asks about its new products.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from models import features, metrics
from models.debiasing.metrics import ESTIMATORS, EvenRecall
from models.errors import BadInput
from models.exposure.metrics import COVERAGE, GINI, NEW_SHARE, ExposureMetric
from models.ranking import PLACES
from pipeline.config import Gate

SIGNATURE: Final = "evaluate"
BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"
KS: Final = (10, 20, 50)
COLD: Final = "cold_"  # begins the name of a metric that ranks among the items training never saw

# What a person looks at first; the report holds the others too.
HEADLINE_METRICS: Final = (
    metrics.SQUARED_ERROR,
    "recall_at_20",
    "ndcg_at_20",
    "mrr_at_20",
    "cold_recall_at_20",
    "cold_ndcg_at_20",
)
# Of the lists that the true items are ranked in; the lower the better where it says so.
EXPOSURE_METRICS: Final = {
    f"{COLD if cold else ''}{measure}_at_{PLACES}": (measure, cold)
    for measure, cold in (
        (GINI, False), (COVERAGE, False), (NEW_SHARE, False), (GINI, True), (COVERAGE, True),
    )
}  # fmt: skip
# Recall if every item were asked for equally often.
EVEN_METRICS: Final = {
    f"{COLD if cold else ''}{estimator}_recall_at_20": (estimator, cold)
    for cold in (False, True)
    for estimator in ESTIMATORS
}
LOWER_IS_BETTER: Final = frozenset(
    {metrics.SQUARED_ERROR}
    | {name for name, (measure, _) in EXPOSURE_METRICS.items() if measure == GINI}
)

# Metrics that are no single value.
_ARRAYS: Final = (metrics.RATING_COUNTS, metrics.CALIBRATION)

_SEEN: Final = {features.ITEM_STATE: features.SEEN.decode()}
_NEW: Final = {features.ITEM_STATE: features.NEW.decode()}
_EARLIER: Final = {features.SPAN_AGE: features.EARLIER.decode()}
_LATEST: Final = {features.SPAN_AGE: features.LATEST.decode()}

SLICES: Final = {
    "overall": tfma.SlicingSpec(),
    "seen": tfma.SlicingSpec(feature_values=_SEEN),
    "new": tfma.SlicingSpec(feature_values=_NEW),
}
# Where the data has an earlier span than the latest.
SPAN_SLICES: Final = {
    "earlier": tfma.SlicingSpec(feature_values=_EARLIER),
    "latest": tfma.SlicingSpec(feature_values=_LATEST),
    "earlier_new": tfma.SlicingSpec(feature_values=_EARLIER | _NEW),
    "latest_new": tfma.SlicingSpec(feature_values=_LATEST | _NEW),
}
# Groups of users and of items, for whom the model is to do its work alike. Fairness Indicators'
# own measures are rates of binary decisions; a held-out purchase has a rank, and its recall in a
# group is what they call the true positive rate there.
_GROUPS: Final = {
    (features.USER_GROUP, "for_{}_users"): features.USER_GROUPS,
    (features.ITEM_GROUP, "{}_items"): features.ITEM_GROUPS,
}
GROUP_SLICES: Final = {
    f"{state['item_state']}_{name.format(group.decode())}": tfma.SlicingSpec(
        feature_values=state | {feature: group.decode()}
    )
    for (feature, name), groups in _GROUPS.items()
    for state in (_SEEN, _NEW)
    for group in groups
}
# One for each span, for the report: no gate is on them, for a single old span may be small.
_EACH_SPAN: Final = (
    tfma.SlicingSpec(feature_keys=[features.SPAN]),
    tfma.SlicingSpec(feature_keys=[features.SPAN], feature_values=_NEW),
)


def evaluation_metrics() -> dict[str, tfma.metrics.Metric]:
    """All metrics by the name that gates and reports use."""
    found: dict[str, tfma.metrics.Metric] = {metrics.SQUARED_ERROR: metrics.SquaredError()}
    for cold in (False, True):
        for gain in ("recall", "ndcg", "mrr"):
            for k in KS:
                name = f"{COLD if cold else ''}{gain}_at_{k}"
                found[name] = metrics.RankingMetric(gain=gain, k=k, cold=cold, name=name)
    for name, (measure, cold) in EXPOSURE_METRICS.items():
        found[name] = ExposureMetric(measure=measure, cold=cold, name=name)
    for name, (estimator, cold) in EVEN_METRICS.items():
        found[name] = EvenRecall(estimator=estimator, cold=cold, name=name)
    return found


def says_something(metric: str, slice_: str) -> bool:
    """Whether a metric has a meaning in a slice: a cold one has it for new items alone.

    Elsewhere the true item is not among the cold ones.
    """
    return not metric.startswith(COLD) or slice_.startswith("new") or slice_.endswith("new")


def applicable_gates(gates: Iterable[Gate], *, by_span: bool) -> tuple[Gate, ...]:
    """Those whose slices there are: gates on spans need data with an earlier one."""
    return tuple(gate for gate in gates if by_span or gate.slice not in SPAN_SLICES)


def check_gates(gates: Iterable[Gate], *, by_span: bool) -> None:
    """Refuse gates that nothing could pass, before anything is computed.

    Raises:
        BadInput: a gate names a metric that is not measured, or one that says nothing of its slice.
    """
    gates = applicable_gates(gates, by_span=by_span)
    unknown = sorted({gate.metric for gate in gates} - set(evaluation_metrics()))
    if unknown:
        raise BadInput(
            f"gates.model names {', '.join(unknown)}, which is no metric. There are "
            f"{', '.join(evaluation_metrics())}."
        )
    for gate in gates:
        if not says_something(gate.metric, gate.slice):
            raise BadInput(
                f"gates.model has {gate.metric} on slice {gate.slice}, of which it says nothing, "
                "for it ranks new items alone. Name a slice of new items, or "
                f"{gate.metric.removeprefix(COLD)}."
            )


def slice_name(values: Mapping[str, str | int]) -> str:
    """The name of a slice, given the features and values that make it."""
    parts = dict(values)
    for (feature, name), _ in _GROUPS.items():
        if feature in parts:
            return f"{parts[features.ITEM_STATE]}_{name.format(parts[feature])}"
    state, age = parts.pop(features.ITEM_STATE, ""), parts.pop(features.SPAN_AGE, "")
    if (span := parts.pop(features.SPAN, None)) is not None:
        return span_slice(int(span), is_new=bool(state))
    return "_".join(str(part) for part in (age, state) if part) or "overall"


def span_slice(span: int, *, is_new: bool) -> str:
    """The name of a span's slice, of all its interactions or of those with new items."""
    return f"span {span}, new" if is_new else f"span {span}"


def evaluation_config(gates: Iterable[Gate], *, by_span: bool) -> tfma.EvalConfig:
    """TFMA's configuration: metrics, slices, value and change thresholds.

    Args:
        gates: that `check_gates` takes; those on spans are left out where there is no earlier one.
        by_span: whether the data has an earlier span than the latest.
    """
    gates = applicable_gates(gates, by_span=by_span)
    specs = tfma.metrics.specs_from_metrics(
        [
            *evaluation_metrics().values(),
            metrics.RatingCounts(),
            metrics.Calibration(),
            tfma.metrics.ExampleCount(name=metrics.EXAMPLE_COUNT),
        ]
    )
    for spec in specs:
        for metric in spec.metrics:
            _add_thresholds(metric, [g for g in gates if _name(metric) == g.metric])
    return tfma.EvalConfig(
        # Any other type makes TFMA load the model through Keras to look at it.
        model_specs=[tfma.ModelSpec(signature_name=SIGNATURE, model_type="tf_generic")],
        slicing_specs=[
            *SLICES.values(),
            *GROUP_SLICES.values(),
            *((*SPAN_SLICES.values(), *_EACH_SPAN) if by_span else ()),
        ],
        metrics_specs=specs,
    )


def recorded_gates(config: str) -> list[Gate]:
    """The gates in the configuration of an Evaluator that ran, given as ML Metadata notes it."""
    parsed = json_format.Parse(config, tfma.EvalConfig())
    return [
        _recorded_gate(_name(metric), slice_name(slicing.feature_values), entry.threshold)
        for spec in parsed.metrics_specs
        for metric in spec.metrics
        for entry in metric.per_slice_thresholds
        for slicing in entry.slicing_specs
    ]


def read_metrics(evaluation: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Model ("candidate", "baseline") to slice to metric to value, from Evaluator's folder.

    The slices of all items stand before those of groups, and those before each single span's. The
    candidate has none where nothing was held out.
    """
    found: dict[str, dict[str, dict[str, float]]] = {CANDIDATE: {}}
    for slice_metrics in sorted(tfma.load_metrics(str(evaluation)), key=_place):
        name = _name_of(slice_metrics)
        for entry in slice_metrics.metric_keys_and_values:
            if entry.key.is_diff or entry.key.name in _ARRAYS:
                continue
            model = BASELINE if entry.key.model_name == BASELINE else CANDIDATE
            values = found.setdefault(model, {}).setdefault(name, {})
            values[entry.key.name] = entry.value.double_value.value
    return found


def _place(slice_metrics: metrics_for_slice_pb2.MetricsForSlice) -> tuple[int, int, str]:
    name, known = _name_of(slice_metrics), [*SLICES, *SPAN_SLICES, *GROUP_SLICES]
    # Of names of spans the longer one is the later.
    return (known.index(name) if name in known else len(known), len(name), name)


def _name_of(slice_metrics: metrics_for_slice_pb2.MetricsForSlice) -> str:
    keys = slice_metrics.slice_key.single_slice_keys
    return slice_name({key.column: _slice_value(key) for key in keys})


def _slice_value(key: metrics_for_slice_pb2.SingleSliceKey) -> str | int:
    if key.HasField("int64_value"):
        return int(key.int64_value)
    value: str = key.bytes_value.decode()
    return value


def read_rating_counts(evaluation: Path) -> list[float]:
    """Of the candidate on held-out interactions: of the newest span where they are told apart.

    Empty where there are none, and where an older Debut measured none.
    """
    found = _read_arrays(evaluation, metrics.RATING_COUNTS)
    return found.get("latest" if found.keys() & SPAN_SLICES.keys() else "overall", [])


def read_calibration(evaluation: Path) -> dict[str, list[metrics.Bin]]:
    """Of the candidate's ratings, by the name of the slice; empty where none was measured."""
    found = _read_arrays(evaluation, metrics.CALIBRATION)
    return {name: metrics.bins(found[name]) for name in SLICES if name in found}


def _read_arrays(evaluation: Path, metric: str) -> dict[str, list[float]]:
    """A metric of the candidate that is an array, by the name of the slice."""
    return {
        _name_of(slice_metrics): list(entry.value.array_value.float64_values)
        for slice_metrics in tfma.load_metrics(str(evaluation))
        for entry in slice_metrics.metric_keys_and_values
        if entry.key.name == metric and not entry.key.is_diff and entry.key.model_name != BASELINE
    }


def _add_thresholds(metric: tfma.MetricConfig, gates: list[Gate]) -> None:
    for gate in gates:
        higher = gate.direction == "higher"
        bound = (
            tfma.GenericValueThreshold(lower_bound={"value": gate.bound})
            if higher
            else tfma.GenericValueThreshold(upper_bound={"value": gate.bound})
        )
        threshold = tfma.MetricThreshold(value_threshold=bound)
        if gate.tolerance is not None:
            # Absolute: a relative change against a baseline of 0 is NaN and always refuses.
            threshold.change_threshold.direction = (
                tfma.MetricDirection.HIGHER_IS_BETTER
                if higher
                else tfma.MetricDirection.LOWER_IS_BETTER
            )
            threshold.change_threshold.absolute.value = (
                -gate.tolerance if higher else gate.tolerance
            )
        metric.per_slice_thresholds.append(
            tfma.PerSliceMetricThreshold(
                slicing_specs=[(SLICES | SPAN_SLICES | GROUP_SLICES)[gate.slice]],
                threshold=threshold,
            )
        )


def _recorded_gate(metric: str, name: str, threshold: tfma.MetricThreshold) -> Gate:
    bounds, change = threshold.value_threshold, threshold.change_threshold
    higher = bounds.HasField("lower_bound")
    return Gate.model_validate(
        {
            "metric": metric,
            "slice": name,
            "direction": "higher" if higher else "lower",
            "bound": (bounds.lower_bound if higher else bounds.upper_bound).value,
            "tolerance": abs(change.absolute.value) if change.HasField("absolute") else None,
        }
    )


def _name(metric: tfma.MetricConfig) -> str:
    name: str = json.loads(metric.config).get("name", "") if metric.config else ""
    return name
