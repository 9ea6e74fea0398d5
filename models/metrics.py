"""Ranking metrics over the whole candidate index, as TFMA metrics.

The model's `evaluate` signature answers the rank of the true item among all candidates, so each
metric is a mean over interactions that TFMA can slice, threshold and compare with the baseline.
TFMA's own query metrics take the union of a group's slices and have no recall over a catalogue.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types

from models.arrays import Doubles

# Outputs of the `evaluate` signature.
RANK = "rank"  # 1 is best, among every item outside the history
COLD_RANK = "cold_rank"  # the same among the items that training never saw
SQUARED_ERROR = "squared_error"
RATING = "rating"

EXAMPLE_COUNT: Final = "example_count"
RATING_COUNTS: Final = "rating_counts"
RATING_BINS: Final = 100

Combiner = Callable[[metric_types.MetricKey], beam.CombineFn]


def recall(rank: float, k: int) -> float:
    """1 where the true item is among the first k. With one true item, recall is the hit rate."""
    return 1.0 if rank <= k else 0.0


def ndcg(rank: float, k: int) -> float:
    """1 / log2(rank + 1) within the first k: NDCG with one relevant item (Järvelin 2002)."""
    return 1.0 / math.log2(rank + 1.0) if rank <= k else 0.0


def reciprocal_rank(rank: float, k: int) -> float:
    """1 / rank within the first k (Voorhees 1999); its mean is MRR@k."""
    return 1.0 / rank if rank <= k else 0.0


_GAINS: Final[dict[str, Callable[..., float]]] = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
}


@dataclasses.dataclass
class _Sum:
    total: float = 0.0
    count: int = 0


class _MeanOverInteractions(beam.CombineFn):
    def __init__(
        self, key: metric_types.MetricKey, output: str, gain: Callable[[float], float]
    ) -> None:
        self._key = key
        self._output = output
        self._gain = gain

    def create_accumulator(self) -> _Sum:
        return _Sum()

    def add_input(self, accumulator: _Sum, element: metric_types.StandardMetricInputs) -> _Sum:
        outputs = element.get_predictions(self._key.model_name or None)
        accumulator.total += self._gain(float(outputs[self._output].item()))
        accumulator.count += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sum]) -> _Sum:
        merged = _Sum()
        for part in accumulators:
            merged.total += part.total
            merged.count += part.count
        return merged

    def extract_output(self, accumulator: _Sum) -> dict[metric_types.MetricKey, float]:
        mean = accumulator.total / accumulator.count if accumulator.count else float("nan")
        return {self._key: mean}


def combined(
    name: str, model_names: list[str] | None, combiner: Combiner
) -> metric_types.MetricComputations:
    """A metric of each model, as a combiner of the interactions.

    Args:
        name: of the metric.
        model_names: as TFMA gives them.
        combiner: made of the key under which it puts its value.
    """
    keys = [metric_types.MetricKey(name=name, model_name=model) for model in model_names or [""]]
    return [
        metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner(key))
        for key in keys
    ]


def derived(
    name: str, model_names: list[str] | None, *, shared: str, combiner: Combiner,
    value: Callable[[Any], float],
) -> metric_types.MetricComputations:  # fmt: skip
    """A metric of each model, of what other metrics need too and is combined once for all.

    Args:
        name: of the metric.
        model_names: as TFMA gives them.
        shared: of what is combined; the same for all metrics with the same combiner.
        combiner: made of the key under which it puts that.
        value: of what was combined.
    """
    computations = combined(f"_{shared}", model_names, combiner)  # private, so it is not reported
    for [held], *_ in list(computations):
        key = held._replace(name=name)

        def result(
            found: dict[metric_types.MetricKey, Any],
            held: metric_types.MetricKey = held,
            key: metric_types.MetricKey = key,
        ) -> dict[metric_types.MetricKey, float]:
            return {key: value(found[held])}

        computations.append(metric_types.DerivedMetricComputation(keys=[key], result=result))
    return computations


def _means(
    name: str, output: str, gain: Callable[[float], float], model_names: list[str] | None
) -> metric_types.MetricComputations:
    return combined(name, model_names, lambda key: _MeanOverInteractions(key, output, gain))


def _ranking(
    gain: str, k: int, cold: bool, name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    output = COLD_RANK if cold else RANK
    return _means(name, output, functools.partial(_GAINS[gain], k=k), model_names)


def _squared_error(
    name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return _means(name, SQUARED_ERROR, float, model_names)


class _Counts(beam.CombineFn):
    """Counts of the ratings in `RATING_BINS` equal parts of [0, 1]."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> Doubles:
        return np.zeros(RATING_BINS)

    def add_input(
        self, accumulator: Doubles, element: metric_types.StandardMetricInputs
    ) -> Doubles:
        outputs = element.get_predictions(self._key.model_name or None)
        part = int(float(outputs[RATING].item()) * RATING_BINS)
        accumulator[min(max(part, 0), RATING_BINS - 1)] += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Doubles]) -> Doubles:
        merged: Doubles = np.sum(list(accumulators), axis=0)
        return merged

    def extract_output(self, accumulator: Doubles) -> dict[metric_types.MetricKey, Doubles]:
        return {self._key: accumulator}


def _rating_counts(
    name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return combined(name, model_names, _Counts)


class RatingCounts(metric_types.Metric):
    """How many ratings the model predicts in each of `RATING_BINS` equal parts of [0, 1].

    An array, which no gate takes: drift is told from it.
    """

    def __init__(self, name: str = RATING_COUNTS) -> None:
        super().__init__(_rating_counts, name=name)


class RankingMetric(metric_types.Metric):
    """A ranking metric of the true item among all items, or among the cold ones.

    Args:
        gain: "recall", "ndcg" or "mrr".
        k: length of the list.
        cold: rank among the items that training never saw.
        name: how reports and thresholds call it.
    """

    def __init__(self, gain: str, k: int, cold: bool, name: str) -> None:
        super().__init__(_ranking, gain=gain, k=k, cold=cold, name=name)


class SquaredError(metric_types.Metric):
    """Mean squared error of the rating; for implicit data half of it is on a sampled negative."""

    def __init__(self, name: str = SQUARED_ERROR) -> None:
        super().__init__(_squared_error, name=name)


metric_types.register_metric(RankingMetric)
metric_types.register_metric(SquaredError)
metric_types.register_metric(RatingCounts)
