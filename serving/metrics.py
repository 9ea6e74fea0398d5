"""The stock server's Prometheus metrics, under its names and with its labels.

prometheus-client counts; the text is written here, because its own writer gives each counter the
ending `_total`, which the stock server's names don't have.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from serving.config_messages import MonitoringConfig
from serving.model_config import read_text_proto
from serving.status import StatusError

DEFAULT_PATH: Final = "/monitoring/prometheus/metrics"
_PREFIX: Final = ":tensorflow:serving:"
_MICROSECONDS: Final = 1e6
_LATENCY_BUCKETS: Final = tuple(10 * 1.8**n for n in range(33))
_COUNT_BUCKETS: Final = tuple(2.0**n for n in range(14))
_RUNTIME: Final = "TF1"  # a session, as in the stock server without TFRT
_TOTAL: Final = "_total"


def metrics_path(path: str) -> str | None:
    """Where `--monitoring_config_file` wants the metrics; None where it doesn't.

    Raises:
        StatusError: no such file, or no `MonitoringConfig`.
    """
    if not path:
        return None
    config = read_text_proto(path, MonitoringConfig()).prometheus_config
    return (config.path or DEFAULT_PATH) if config.enable else None


class Metrics:
    """Counters and histograms of one server; latencies are in microseconds."""

    def __init__(self) -> None:
        """All at zero."""
        self._registry = CollectorRegistry()
        self._requests = self._counter("request_count", "model_name", "status")
        self._request_latency = self._latency("request_latency", "model_name", "API", "entrypoint")
        self._runtime_latency = self._latency("runtime_latency", "model_name", "API", "runtime")
        self._warmup_latency = self._latency("model_warmup_latency", "model_path", "status")
        # The stock name of this counter does end in `_total`.
        self._examples = self._counter("request_example_count_total", "model")
        self._example_counts = Histogram(
            _PREFIX + "request_example_counts", "", ["model"], registry=self._registry,
            buckets=_COUNT_BUCKETS,
        )  # fmt: skip

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Around one request: its status, and its latency where it is answered."""
        start = time.perf_counter()
        try:
            yield
        except StatusError as error:
            self._requests.labels(model, error.code.name).inc()
            raise
        self._requests.labels(model, "OK").inc()
        self._request_latency.labels(model, api, entrypoint).observe(_since(start))

    @contextmanager
    def runtime(self, model: str, api: str) -> Iterator[None]:
        """Around the run of the graph; only an answer counts."""
        start = time.perf_counter()
        yield
        self._runtime_latency.labels(model, api, _RUNTIME).observe(_since(start))

    def examples(self, model: str, count: int) -> None:
        """One MultiInference over so many examples."""
        self._examples.labels(model).inc(count)
        self._example_counts.labels(model).observe(count)

    def warmed_up(self, path: str, seconds: float) -> None:
        """A version replayed its warm-up file."""
        self._warmup_latency.labels(path, "OK").observe(seconds * _MICROSECONDS)

    def text(self) -> str:
        """Everything in Prometheus' text format."""
        return "".join(_lines(self._registry.collect()))

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, "", labels, registry=self._registry)

    def _latency(self, name: str, *labels: str) -> Histogram:
        return Histogram(
            _PREFIX + name, "", labels, registry=self._registry, buckets=_LATENCY_BUCKETS
        )


def _since(start: float) -> float:
    return (time.perf_counter() - start) * _MICROSECONDS


def _lines(families: Iterable[Metric]) -> Iterator[str]:
    for family in families:
        # The library drops the ending from the family's name and gives it back to the samples'.
        ending = _TOTAL if family.name.endswith("request_example_count") else ""
        yield f"# TYPE {family.name}{ending} {family.type}\n"
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            name = sample.name
            if family.type == "counter":
                name = family.name + ending
            yield f"{name}{_labels(sample)} {sample.value:.15g}\n"


def _labels(sample: Sample) -> str:
    escaped = (
        (name, _bound(value) if name == "le" else _escape(value))
        for name, value in sample.labels.items()
    )
    inside = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"{{{inside}}}" if inside else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _bound(value: str) -> str:
    """Six digits, as the stock server writes a bucket's upper bound."""
    return value if value == "+Inf" else f"{float(value):g}"
