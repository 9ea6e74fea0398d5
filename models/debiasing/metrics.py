"""Recall as it would be if every item were asked for equally often, as TFMA metrics.

Held-out interactions ask for popular items again and again. They are taken for the log of a policy
that draws items by their popularity, and recall is estimated for one that draws them evenly, by the
estimators of `models.exploration.off_policy` (Yang et al. 2018, who do so with a power of the
popularity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.constants import BASELINE_KEY, CANDIDATE_KEY
from tensorflow_model_analysis.metrics import metric_types

from models.arrays import Doubles
from models.exploration.off_policy import Estimate, Logged, doubly_robust, ips, snips, truncated
from models.interactions import PAD
from models.metrics import COLD_RANK, RANK, derived, recall
from models.ranking import PLACES

# Outputs of the `evaluate` signature.
ASKED: Final = "asked"  # row of the true item
BUYERS: Final = "buyers"  # how many users have it, in all splits
OUTPUTS: Final = (ASKED, BUYERS)

ESTIMATORS: Final[dict[str, Callable[[Logged], Estimate]]] = {
    "ips": ips,
    "snips": snips,
    "dr": doubly_robust,
}
# By row: how often it was asked for, how often it was found, and how many buyers it has.
_Asked = dict[int, tuple[int, float, float]]


def logged(asked: Doubles, found: Doubles, buyers: Doubles) -> Logged:
    """The interactions as a log, for a policy that draws the items evenly.

    The reward that a model expects of an item is the mean of the items with about as many buyers:
    the same power of two.

    Args:
        asked: float64 [I], how often each item was asked for, at least once.
        found: float64 [I], how often it was among the first.
        buyers: float64 [I].
    """
    count = asked.astype(np.int64)
    demand = np.maximum(buyers, 1.0)
    level = np.log2(demand).astype(np.int64)
    rate = (np.bincount(level, found) / np.maximum(np.bincount(level, asked), 1.0))[level]
    hits = found.astype(np.int64)
    each = int(count.sum())
    # Of each item first the hits, then the misses.
    reward = np.repeat(np.tile([1.0, 0.0], len(count)), np.stack([hits, count - hits], 1).ravel())
    return Logged(
        user=np.arange(each),
        reward=reward,
        propensity=np.repeat(demand / demand.sum(), count),
        target=np.full(each, 1.0 / len(count)),
        predicted=np.repeat(rate, count),
        expected=np.full(each, rate.mean()),
    )


class _AsLog(beam.CombineFn):
    def __init__(self, key: metric_types.MetricKey, *, is_cold: bool) -> None:
        self._key = key
        self._rank = COLD_RANK if is_cold else RANK
        # Both models are judged by one log: a baseline may not know an item, and misses it.
        self._log = CANDIDATE_KEY if key.model_name == BASELINE_KEY else key.model_name

    def create_accumulator(self) -> _Asked:
        return {}

    def add_input(self, accumulator: _Asked, element: metric_types.StandardMetricInputs) -> _Asked:
        log = element.get_predictions(self._log or None)
        # A model whose `evaluate` is not Debut's does not say what was asked for.
        if ASKED in log and (row := int(log[ASKED].item())) != PAD:
            outputs = element.get_predictions(self._key.model_name or None)
            hit = recall(float(outputs[self._rank].item()), PLACES)
            _add(accumulator, row, (1, hit, float(log[BUYERS].item())))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Asked]) -> _Asked:
        merged: _Asked = {}
        for part in accumulators:
            for row, values in part.items():
                _add(merged, row, values)
        return merged

    def extract_output(self, accumulator: _Asked) -> dict[metric_types.MetricKey, Logged | None]:
        if not accumulator:
            return {self._key: None}
        asked, found, buyers = np.array([accumulator[row] for row in sorted(accumulator)]).T
        return {self._key: truncated(logged(asked, found, buyers))}


def _add(asked: _Asked, row: int, values: tuple[int, float, float]) -> None:
    count, found, _ = asked.get(row, (0, 0.0, 0.0))
    asked[row] = (count + values[0], found + values[1], values[2])


def _estimated(
    estimator: str, cold: bool, name: str, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    def value(log: Logged | None) -> float:
        return float("nan") if log is None else ESTIMATORS[estimator](log).value

    return derived(
        name, model_names, shared="cold_log" if cold else "log",
        combiner=lambda key: _AsLog(key, is_cold=cold), value=value,
    )  # fmt: skip


class EvenRecall(metric_types.Metric):
    """Recall at 20 if every item were asked for equally often.

    Args:
        estimator: "ips", "snips" or "dr".
        cold: rank among the items that training never saw.
        name: how reports and thresholds call it.
    """

    def __init__(self, estimator: str, cold: bool, name: str) -> None:
        super().__init__(_estimated, estimator=estimator, cold=cold, name=name)


metric_types.register_metric(EvenRecall)
