"""Ranking metrics over the whole candidate index, as TFMA metrics.

The model's `evaluate` signature answers the rank of the true item among all candidates, so each
metric is a mean over interactions that TFMA can slice, threshold and compare with the baseline.
TFMA's own query metrics take the union of a group's slices and have no recall over a catalogue.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types

from models.arrays import Doubles

# Outputs of the `evaluate` signature.
RANK = "rank"  # 1 is best, among every item outside the history
COLD_RANK = "cold_rank"  # the same among the items that training never saw
SQUARED_ERROR = "squared_error"
RATING = "rating"
RATED = "rated"  # ratings of the true item and, with implicit feedback, of a drawn one
GIVEN = "given"  # what these were given: to what was drawn, 0

EXAMPLE_COUNT: Final = "example_count"
RATING_COUNTS: Final = "rating_counts"
RATING_BINS: Final = 100
CALIBRATION: Final = "calibration"
CALIBRATION_BINS: Final = 10

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


class _Sums(beam.CombineFn, abc.ABC):
    """Sums of what the outputs of the interactions add to an array."""

    shape: tuple[int, ...]

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    @abc.abstractmethod
    def add(self, sums: Doubles, outputs: dict[str, npt.NDArray[Any]]) -> None:
        """Adds what one interaction does."""

    def create_accumulator(self) -> Doubles:
        return np.zeros(self.shape)

    def add_input(
        self, accumulator: Doubles, element: metric_types.StandardMetricInputs
    ) -> Doubles:
        self.add(accumulator, element.get_predictions(self._key.model_name or None))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Doubles]) -> Doubles:
        merged: Doubles = np.sum(list(accumulators), axis=0)
        return merged

    def extract_output(self, accumulator: Doubles) -> dict[metric_types.MetricKey, Doubles]:
        return {self._key: accumulator}


class _Counts(_Sums):
    """Counts of the ratings in `RATING_BINS` equal parts of [0, 1]."""

    shape = (RATING_BINS,)

    def add(self, sums: Doubles, outputs: dict[str, npt.NDArray[Any]]) -> None:
        sums[_part(outputs[RATING].item(), RATING_BINS)] += 1


class _Calibration(_Sums):
    """Of the ratings in `CALIBRATION_BINS` equal parts of [0, 1]: sums of what `Bin` holds."""

    shape = (CALIBRATION_BINS, 3)

    def add(self, sums: Doubles, outputs: dict[str, npt.NDArray[Any]]) -> None:
        # A baseline that an older Debut made answers no such pairs.
        pairs = (np.ravel(outputs.get(name, ())).tolist() for name in (RATED, GIVEN))
        for rated, given in zip(*pairs, strict=True):
            sums[_part(rated, CALIBRATION_BINS)] += (1.0, rated, given)


def _part(rating: float, parts: int) -> int:
    return min(max(int(rating * parts), 0), parts - 1)


class Bin(NamedTuple):
    """Ratings that are about equal.

    Attributes:
        size: how many.
        rated: their mean.
        given: mean of what was given.
    """

    size: int
    rated: float
    given: float


def bins(sums: Iterable[float]) -> list[Bin]:
    """Those that hold any, in rising order, of what `Calibration` found."""
    parts = np.reshape(list(sums), (-1, 3))
    return [
        Bin(int(count), rated / count, given / count)
        for count, rated, given in parts.tolist()
        if count
    ]


def calibration_error(found: Sequence[Bin]) -> float:
    """How far ratings are from what was given, on average: NaN without any.

    Expected calibration error (Naeini, Cooper & Hauskrecht 2015, equation 2), over equal parts.
    """
    count = sum(part.size for part in found)
    apart = sum(part.size * abs(part.rated - part.given) for part in found)
    return apart / count if count else float("nan")


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


def _calibration(
    name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return combined(name, model_names, _Calibration)


class Calibration(metric_types.Metric):
    """What was given where the model predicts about the same rating: sums that `bins` reads.

    An array, which no gate takes.
    """

    def __init__(self, name: str = CALIBRATION) -> None:
        super().__init__(_calibration, name=name)


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
metric_types.register_metric(Calibration)
