"""Metrics in slices as the report's tables: the candidate's beside the baseline's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from models.metrics import SQUARED_ERROR
from pipeline.evaluation import (
    EVEN_METRICS,
    EXPOSURE_METRICS,
    GROUP_SLICES,
    HEADLINE_METRICS,
    LOWER_IS_BETTER,
    SLICES,
    evaluation_metrics,
    says_something,
    span_slice,
)
from pipeline.outcome import Outcome

_ORDER: Final = tuple(evaluation_metrics())


class Comparison(NamedTuple):
    """A metric in a slice; None where it was not measured."""

    metric: str
    slice: str
    candidate: float | None
    baseline: float | None

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline."""
        if self.candidate is None or self.baseline is None:
            return None
        return self.candidate - self.baseline

    @property
    def judgement(self) -> str:
        """Whether the candidate is better, worse, or neither."""
        if not self.difference or self.metric not in _ORDER:
            return ""
        return "better" if (self.difference < 0) == (self.metric in LOWER_IS_BETTER) else "worse"


class MetricTable(NamedTuple):
    """Metrics in slices.

    Attributes:
        corner: what the rows are.
        columns: their names.
        rows: by name, of each column a cell; None where nobody asks for it.
    """

    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Comparison | None]]


def headline_metrics(outcome: Outcome) -> MetricTable:
    """What a person looks at first."""
    return _rows_of_metrics(_comparisons(outcome, HEADLINE_METRICS))


def all_metrics(outcome: Outcome) -> MetricTable:
    """Everything that was measured and says something."""
    measured = {metric for values in outcome.metrics["candidate"].values() for metric in values}
    return _rows_of_metrics(_comparisons(outcome, sorted(measured, key=_place)))


def span_metrics(outcome: Outcome) -> MetricTable:
    """What was forgotten and gained in each span, nothing where there is only one."""
    spans = outcome.summary.spans
    if len(spans) < 2:
        return _rows_of_slices([])
    every = [span_slice(span, is_new=False) for span in spans]
    new = [span_slice(span, is_new=True) for span in spans]
    slices = {
        "recall_at_20": every,
        "cold_recall_at_20": new,
        SQUARED_ERROR: every,
        "example_count": every,
    }
    return _rows_of_slices(_each_in(outcome, slices))


def group_metrics(outcome: Outcome) -> MetricTable:
    """The same question asked for each group; of new items among new ones."""
    seen, new = (
        [name for name in GROUP_SLICES if name.startswith(state)] for state in ("seen", "new")
    )
    slices = {"recall_at_20": seen, "cold_recall_at_20": new, "example_count": [*seen, *new]}
    return _rows_of_slices(_each_in(outcome, slices))


def exposure_metrics(outcome: Outcome) -> MetricTable:
    """How evenly the lists show items; empty where an older Debut did not measure it."""
    slices = {
        metric: ["new"] if cold else ["overall"] for metric, (_, cold) in EXPOSURE_METRICS.items()
    }
    return _rows_of_metrics(_measured(outcome, slices))


def even_metrics(outcome: Outcome) -> MetricTable:
    """The plain recall beside its estimates, of items that sell and of new ones among new ones."""
    slices = {metric: ["new"] if cold else ["seen"] for metric, (_, cold) in EVEN_METRICS.items()}
    plain = {"recall_at_20": ["seen"], "cold_recall_at_20": ["new"]}
    found = _measured(outcome, slices)
    return _rows_of_metrics(_measured(outcome, plain) + found if found else [])


def _measured(outcome: Outcome, slices: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Those of metrics in some slices that were measured."""
    return [cell for cell in _each_in(outcome, slices) if cell.candidate is not None]


def _each_in(outcome: Outcome, slices: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Metrics, each in slices of its own."""
    return [
        cell for metric, names in slices.items() for cell in _comparisons(outcome, [metric], names)
    ]


def _rows_of_metrics(cells: Iterable[Comparison]) -> MetricTable:
    """A table with a row for each metric and a column for each slice."""
    return _table("Metric", {(cell.metric, cell.slice): cell for cell in cells})


def _rows_of_slices(cells: Iterable[Comparison]) -> MetricTable:
    """The same on its side, for many slices."""
    return _table("Slice", {(cell.slice, cell.metric): cell for cell in cells})


def _table(corner: str, cells: Mapping[tuple[str, str], Comparison]) -> MetricTable:
    rows = dict.fromkeys(row for row, _ in cells)
    columns = list(dict.fromkeys(column for _, column in cells))
    return MetricTable(
        corner, columns, {row: [cells.get((row, column)) for column in columns] for row in rows}
    )


def _comparisons(
    outcome: Outcome, metrics: Sequence[str], slices: Iterable[str] = SLICES
) -> list[Comparison]:
    def value(model: str, name: str, metric: str) -> float | None:
        found = outcome.metrics.get(model, {}).get(name, {}).get(metric)
        return None if found is None or math.isnan(found) else found

    known = [name for name in slices if name in outcome.metrics["candidate"]]
    return [
        Comparison(metric, name, value("candidate", name, metric), value("baseline", name, metric))
        for metric in metrics
        for name in known
        if says_something(metric, name)
    ]


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)
