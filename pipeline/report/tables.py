"""Metrics in slices as the report's tables: the candidate's beside the baseline's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from models.debiasing.metrics import EvenRecall
from models.metrics import EXAMPLE_COUNT, SQUARED_ERROR, RankingMetric
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

_METRICS: Final = evaluation_metrics()
_ORDER: Final = tuple(_METRICS)
_SHOWN: Final = 5e-5  # what rounds to 0 in four digits is less
_ERRORS: Final = 1.96  # standard errors that chance stays within in 95 of 100 cases


class Comparison(NamedTuple):
    """A metric in a slice of so many interactions; None where it was not measured."""

    metric: str
    slice: str
    candidate: float | None
    baseline: float | None
    interactions: float | None

    @property
    def is_count(self) -> bool:
        """Whether it counts interactions, which no model changes."""
        return self.metric.endswith(EXAMPLE_COUNT)

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline."""
        if self.candidate is None or self.baseline is None:
            return None
        return self.candidate - self.baseline

    @property
    def judgement(self) -> str:
        """Whether the candidate is better, worse, or neither as far as the data can tell."""
        if self.difference is None or self.metric not in _ORDER:
            return ""
        if abs(self.difference) < max(_SHOWN, self._chance):
            return ""
        return "better" if (self.difference < 0) == (self.metric in LOWER_IS_BETTER) else "worse"

    @property
    def _chance(self) -> float:
        """What two samples of as many interactions differ by; 0 where that is not known.

        Both models answer the same interactions, so that chance makes less of a difference. How
        much less is not recorded.
        """
        # Values in [0, 1] whose mean is m vary by m (1 - m) at most; weights only add to that.
        if not isinstance(_METRICS[self.metric], RankingMetric | EvenRecall):
            return 0.0
        if not self.interactions or self.candidate is None or self.baseline is None:
            return 0.0
        variances = (max(mean * (1 - mean), 0.0) for mean in (self.candidate, self.baseline))
        return _ERRORS * math.sqrt(sum(variances) / self.interactions)


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
    return _rows_of_metrics(_comparisons(outcome, [*HEADLINE_METRICS, EXAMPLE_COUNT]))


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
        EXAMPLE_COUNT: every,
    }
    return _rows_of_slices(_each_in(outcome, slices))


def group_metrics(outcome: Outcome) -> MetricTable:
    """The same question asked for each group; of new items among new ones."""
    seen, new = (
        [name for name in GROUP_SLICES if name.startswith(state)] for state in ("seen", "new")
    )
    slices = {"recall_at_20": seen, "cold_recall_at_20": new, EXAMPLE_COUNT: [*seen, *new]}
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
        Comparison(
            metric,
            name,
            value("candidate", name, metric),
            value("baseline", name, metric),
            interactions=value("candidate", name, EXAMPLE_COUNT),
        )
        for metric in metrics
        for name in known
        if says_something(metric, name)
    ]


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)
