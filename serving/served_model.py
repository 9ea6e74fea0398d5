"""`ServedModel`: the life of one model's versions, in a thread of its own.

The thread polls the base path and moves versions through START, LOADING, AVAILABLE, UNLOADING, END.
A new version is AVAILABLE before the old one unloads, and while no wanted version can be loaded the
old one keeps serving. Loading and unloading block only this model's thread, never a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import get_model_status_pb2

from serving.batch_options import Batching
from serving.loaded_graphs import LoadedGraphs
from serving.metrics import Metrics
from serving.model_config import ModelSource
from serving.servable import Servable
from serving.status import StatusError
from serving.version_folders import BasePathError, wanted_versions
from serving.warmup import warm_up

State = get_model_status_pb2.ModelVersionStatus
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadOptions:
    """How versions are found and loaded; the defaults are the stock server's.

    Attributes:
        poll_seconds: between looks at the base path; 0 looks once, negative never.
        max_retries: further attempts after a failed load.
        retry_seconds: between attempts.
        tags: of the MetaGraph to load.
        warm_up: replay the warm-up file before a version is available.
        warm_up_iterations: how often each record is replayed.
        session_config: threads and devices of the runtime.
        batching: how requests are brought together; None: each runs by itself.
        metrics: where loads, warm-ups and runs are counted.
    """

    poll_seconds: float = 1
    max_retries: int = 5
    retry_seconds: float = 60
    tags: Sequence[str] = ("serve",)
    warm_up: bool = True
    warm_up_iterations: int = 1
    session_config: config_pb2.ConfigProto | None = None
    batching: Batching | None = None
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True)
class VersionState:
    """Where a version stands: a `ModelVersionStatus.State` value, and why it ended if it failed."""

    version: int
    state: int
    error: StatusError | None = None


class ServedModel:
    """Versions of one model. Every public method may be called from any thread."""

    def __init__(self, name: str, options: LoadOptions) -> None:
        """Nothing is served before the first `serve`."""
        self.name = name
        self._options = options
        self._graphs = LoadedGraphs(options.session_config)
        self._lock = threading.Lock()
        self._available: dict[int, Servable] = {}
        self._states: dict[int, VersionState] = {}
        self._failed: set[int] = set()
        self._source: ModelSource | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"model-{name}", daemon=True)
        self._thread.start()

    def serve(self, source: ModelSource | None) -> None:
        """Changes what is served; None unloads every version. Returns at once."""
        if self._source is None:
            self._settled.clear()
        self._source = source
        self._wake.set()

    def stop(self) -> None:
        """Unloads every version, waiting for the requests in flight, and ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def wait_until_settled(self, seconds: float) -> bool:
        """Waits until every wanted version was loaded or has failed; False after `seconds`."""
        return self._settled.wait(seconds)

    def lease(self, version: int | None) -> Servable | None:
        """An available version (None: the highest), counted as in use until it is released."""
        with self._lock:
            if version is None:
                version = max(self._available, default=0)
            servable = self._available.get(version)
            if servable is not None:
                servable.acquire()
            return servable

    def states(self) -> list[VersionState]:
        """Every version seen so far, newest first, the ended ones included."""
        with self._lock:
            return [self._states[version] for version in sorted(self._states, reverse=True)]

    def is_available(self, version: int) -> bool:
        """Whether the version answers now."""
        with self._lock:
            return version in self._available

    def first_error(self) -> VersionState | None:
        """The newest failed version where no version is available; None where one is."""
        with self._lock:
            if self._available:
                return None
        return next((state for state in self.states() if state.error), None)

    def _watch(self) -> None:
        period = self._options.poll_seconds if self._options.poll_seconds > 0 else None
        while not self._stopping:
            if self._options.poll_seconds >= 0:
                wanted = self._wanted()
                if wanted is not None:
                    self._reconcile(wanted)
            self._wake.wait(period)
            self._wake.clear()  # before what it stands for is looked at, else it could be lost
        self._reconcile({})

    def _wanted(self) -> dict[int, str] | None:
        """Versions to serve; None where the base path can't be read, which changes nothing."""
        source = self._source
        if source is None:
            return {}
        try:
            return wanted_versions(source)
        except BasePathError as error:
            _log.warning("File system access error: %s", error)
            return None

    def _reconcile(self, wanted: dict[int, str]) -> None:
        self._failed &= wanted.keys()
        new = [v for v in wanted if v not in self._failed and not self.is_available(v)]
        for version in new:
            self._set_state(version, State.START)
        for version in sorted(new, reverse=True):
            self._load(version, wanted[version])
        if wanted:
            self._settled.set()
        if wanted and not any(self.is_available(version) for version in wanted):
            return
        with self._lock:
            unwanted = sorted(self._available.keys() - wanted.keys())
        for version in unwanted:
            self._unload(version)

    def _load(self, version: int, path: str) -> None:
        self._set_state(version, State.LOADING)
        attempt = 0
        while True:
            try:
                servable = self._open(version, path)
            except StatusError as error:
                _log.error("Loading {name: %s version: %d} failed: %s", self.name, version, error)
                attempt += 1
                if attempt > self._options.max_retries or not self._retry_later(version):
                    self._failed.add(version)
                    self._set_state(version, State.END, error)
                    return
            else:
                with self._lock:
                    self._available[version] = servable
                    self._states[version] = VersionState(version, State.AVAILABLE)
                _log.info("Loaded {name: %s version: %d}", self.name, version)
                return

    def _open(self, version: int, path: str) -> Servable:
        options = self._options
        try:
            with options.metrics.load(path):
                servable = Servable(
                    path,
                    model=self.name,
                    version=version,
                    tags=options.tags,
                    graphs=self._graphs,
                    batching=options.batching.for_version(path) if options.batching else None,
                    metrics=options.metrics,
                )
            if options.warm_up:
                try:
                    warm_up(servable, iterations=options.warm_up_iterations)
                except BaseException:
                    servable.close()
                    raise
        except StatusError:
            raise
        except Exception as error:  # whatever a damaged file makes a library raise, a load failed
            _log.exception("Loading %s", path)
            text = f"{type(error).__name__}: {error}"
            raise StatusError(grpc.StatusCode.INTERNAL, text) from error
        return servable

    def _retry_later(self, version: int) -> bool:
        """Waits before the next attempt; False where the version is no longer wanted by then."""
        due = time.monotonic() + self._options.retry_seconds
        while not self._stopping:
            left = due - time.monotonic()
            if left <= 0:
                return True
            self._wake.wait(min(left, max(self._options.poll_seconds, 0.1)))
            self._wake.clear()
            wanted = self._wanted()
            if wanted is not None and version not in wanted:
                break
        self._wake.set()  # for the watch loop: this may have taken the signal meant for it
        return False

    def _unload(self, version: int) -> None:
        with self._lock:
            servable = self._available.pop(version)
            self._states[version] = VersionState(version, State.UNLOADING)
        servable.close()
        self._set_state(version, State.END)
        _log.info("Unloaded {name: %s version: %d}", self.name, version)

    def _set_state(self, version: int, state: int, error: StatusError | None = None) -> None:
        with self._lock:
            self._states[version] = VersionState(version, state, error)
