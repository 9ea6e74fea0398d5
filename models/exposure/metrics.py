"""Exposure in the evaluation's lists, as TFMA metrics that can be sliced and thresholded.

The `evaluate` signature answers beside each rank the list that the true item is ranked in. What a
list shows counts once for each interaction, so that who is evaluated more often weighs more.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types

from models.exposure.measures import coverage, gini
from models.interactions import PAD
from models.metrics import derived

# Outputs of the `evaluate` signature.
LISTED: Final = "listed"
COLD_LISTED: Final = "cold_listed"
CANDIDATES: Final = "candidates"
COLD_CANDIDATES: Final = "cold_candidates"
OUTPUTS: Final = (LISTED, COLD_LISTED, CANDIDATES, COLD_CANDIDATES)

GINI: Final = "gini"
COVERAGE: Final = "coverage"
NEW_SHARE: Final = "new_share"


@dataclasses.dataclass
class _Shown:
    """How often each item was shown, of how many there are, and on how many places new ones."""

    counts: Counter[int] = dataclasses.field(default_factory=Counter)
    items: int = 0
    new: int = 0

    def __call__(self, measure: str) -> float:
        """The value of a measure, NaN where nothing was shown."""
        shown = list(self.counts.values())
        if measure == GINI:
            return gini(shown, self.items)
        if measure == COVERAGE:
            return coverage(shown, self.items)
        return self.new / sum(shown) if shown else float("nan")


class _Exposure(beam.CombineFn):
    def __init__(self, key: metric_types.MetricKey, *, is_cold: bool) -> None:
        self._key = key
        self._listed = COLD_LISTED if is_cold else LISTED
        self._candidates = COLD_CANDIDATES if is_cold else CANDIDATES

    def create_accumulator(self) -> _Shown:
        return _Shown()

    def add_input(self, accumulator: _Shown, element: metric_types.StandardMetricInputs) -> _Shown:
        outputs = element.get_predictions(self._key.model_name or None)
        # A baseline of before Debut measured exposure has no lists, and so no value.
        if self._listed not in outputs:
            return accumulator
        rows = _rows(outputs[self._listed])
        accumulator.counts.update(rows)
        accumulator.items = max(accumulator.items, int(outputs[self._candidates].item()))
        # A cold item among the first of all is among the first of the cold ones.
        accumulator.new += len(set(rows) & set(_rows(outputs[COLD_LISTED])))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Shown]) -> _Shown:
        merged = _Shown()
        for part in accumulators:
            merged.counts.update(part.counts)
            merged.items = max(merged.items, part.items)
            merged.new += part.new
        return merged

    def extract_output(self, accumulator: _Shown) -> dict[metric_types.MetricKey, _Shown]:
        return {self._key: accumulator}


def _rows(listed: npt.NDArray[np.int32]) -> list[int]:
    rows: list[int] = listed[listed != PAD].tolist()
    return rows


def _exposure(
    measure: str, cold: bool, name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return derived(
        name, model_names, shared="cold_shown" if cold else "shown",
        combiner=lambda key: _Exposure(key, is_cold=cold), value=lambda shown: shown(measure),
    )  # fmt: skip


class ExposureMetric(metric_types.Metric):
    """How exposure is spread over the items in the evaluated lists.

    Args:
        measure: `GINI` or `COVERAGE`, or `NEW_SHARE` of the places of lists of all items.
        cold: in the lists of items that training never saw, else in those of all.
        name: how reports and thresholds call it.
    """

    def __init__(self, measure: str, cold: bool, name: str) -> None:
        super().__init__(_exposure, measure=measure, cold=cold, name=name)


metric_types.register_metric(ExposureMetric)
