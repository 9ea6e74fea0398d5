"""`Metrics`: what a server counts, in Prometheus' text form under the stock server's names.

prometheus-client does the counting. Its text is not used: it calls a counter `x_total` where the
stock server says `x`, writes `le="10.0"` for `le="10"`, and dashboards and alert rules made for the
stock server ask for the stock names.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric

from serving.config.messages import MonitoringConfig
from serving.config.text_proto import read_text_proto
from serving.status import StatusError

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_SERVING = ":tensorflow:serving:"
_SAVED_MODEL = ":tensorflow:cc:saved_model:"
_MICROSECONDS = tuple(10 * 1.8**n for n in range(33))
_EXAMPLES = tuple(2**n for n in range(15))
_MAX_NAMES = 1000  # of models that no client was ever answered about


class Metrics:
    """The counters of one server. Every method may be called from any thread."""

    def __init__(self) -> None:
        """Everything at zero."""
        self._registry = CollectorRegistry()
        # prometheus-client takes a counter's `_total` off its name; the help text keeps the name.
        counter = functools.partial(_new, Counter, self._registry)
        times = functools.partial(_new, Histogram, self._registry, buckets=_MICROSECONDS)
        self._requests = counter(f"{_SERVING}request_count", ("model_name", "status"))
        self._request_latency = times(
            f"{_SERVING}request_latency", ("model_name", "API", "entrypoint")
        )
        self._runtime_latency = times(
            f"{_SERVING}runtime_latency", ("model_name", "API", "runtime")
        )
        self._warm_up_latency = times(f"{_SERVING}model_warmup_latency", ("model_path", "status"))
        self._examples = _new(
            Histogram, self._registry, f"{_SERVING}request_example_counts", ("model",),
            buckets=_EXAMPLES,
        )  # fmt: skip
        self._examples_total = counter(f"{_SERVING}request_example_count_total", ("model",))
        self._loads = counter(f"{_SAVED_MODEL}load_attempt_count", ("model_path", "status"))
        self._load_latency = counter(f"{_SAVED_MODEL}load_latency", ("model_path",))
        self._names: set[str] = set()

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts the request that the block answers; the time only of one that succeeds.

        Args:
            model: name in the request.
            api: `Predict`, `Classify`, `Regress`; in REST the verb, or nothing.
            entrypoint: `GRPC` or `REST`.
        """
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self._requests.labels(self._failed_name(model), _status(error)).inc()
            raise
        self._names.add(model)
        self._requests.labels(model, "OK").inc()
        self._request_latency.labels(model, api, entrypoint).observe(_since(start))

    @contextmanager
    def runtime(self, model: str, api: str) -> Iterator[None]:
        """Times the block, a run of a model's graph, if it succeeds."""
        start = time.perf_counter()
        yield
        self._runtime_latency.labels(model, api, "TF1").observe(_since(start))

    @contextmanager
    def load(self, path: str) -> Iterator[None]:
        """Counts and times the block, an attempt to load the version in a folder."""
        start, status = time.perf_counter(), "fail"
        try:
            yield
            status = "success"
        finally:
            self._loads.labels(path, status).inc()
            self._load_latency.labels(path).inc(_since(start))

    def warm_up(self, path: str, start: float, *, status: str) -> None:
        """Times the warm-up of the version in a folder, unless one of its requests failed.

        Args:
            path: of the folder.
            start: by `time.perf_counter`.
            status: `OK`, or code and text of what ended the reading.
        """
        self._warm_up_latency.labels(path, status).observe(_since(start))

    def examples(self, model: str, count: int) -> None:
        """Counts the examples of a MultiInference request."""
        self._examples.labels(model).observe(count)
        self._examples_total.labels(model).inc(count)

    def first_count(self, name: str) -> int:
        """What a counter counts under the first of its labels, as a reload tells it; 0 for none.

        Args:
            name: as TensorFlow's registry has it, such as `/tensorflow/serving/request_count`; the
                page for Prometheus has a colon for each slash, and a reload knows nothing of that.
        """
        counted = {
            tuple(sample.labels.values()): int(sample.value)
            for metric in self._registry.collect()
            if (metric.documentation.replace(":", "/"), metric.type) == (name, "counter")
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        return counted[min(counted)] if counted else 0

    def text(self) -> str:
        """Everything, as a scrape reads it."""
        lines = (line for metric in self._registry.collect() for line in _lines(metric))
        return "".join(f"{line}\n" for line in lines)

    def _failed_name(self, model: str) -> str:
        """The name, unless more wrong ones have come than a scrape should hold."""
        if model not in self._names:
            if len(self._names) >= _MAX_NAMES:
                return ""
            self._names.add(model)
        return model


def read_path(file: str) -> str:
    """The path on the REST port that a `--monitoring_config_file` asks for; empty for none.

    Raises:
        StatusError: a file that can't be used.
    """
    config = read_text_proto(file, MonitoringConfig()).prometheus_config
    if not config.enable:
        return ""
    path: str = config.path or DEFAULT_PATH
    return path


def _new(
    kind: Any, registry: CollectorRegistry, name: str, labels: Sequence[str], **options: Any
) -> Any:
    return kind(name, name, labels, registry=registry, **options)


def _status(error: Exception) -> str:
    """The canonical code that the client gets for it."""
    if isinstance(error, StatusError):
        return error.code.name
    return "RESOURCE_EXHAUSTED" if isinstance(error, MemoryError) else "INTERNAL"


def _since(start: float) -> int:
    return round((time.perf_counter() - start) * 1e6)


def _lines(metric: Metric) -> Iterator[str]:
    name = metric.documentation
    yield f"# TYPE {name} {metric.type}"
    for sample in metric.samples:
        if sample.name.endswith("_created"):
            continue
        shown = name if metric.type == "counter" else sample.name
        labels = ",".join(f'{key}="{_label(key, text)}"' for key, text in sample.labels.items())
        yield f"{shown}{{{labels}}} {_number(sample.value)}"


def _label(key: str, text: str) -> str:
    if key == "le":
        return text if text == "+Inf" else f"{float(text):g}"
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
