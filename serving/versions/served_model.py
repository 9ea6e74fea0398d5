"""`ServedModel`: the life of one model's versions, in a thread of its own.

The thread polls the base path and moves versions through START, LOADING, AVAILABLE, UNLOADING, END.
A version that failed to load is tried again later, while others come and go. The last version that
answers leaves only for one that does. Loading and unloading block this thread, never a request.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass

from tensorflow_serving.apis import get_model_status_pb2

from serving.config.model_config import ModelSource
from serving.runtime.loaded_graphs import LoadedGraphs
from serving.runtime.servable import Servable
from serving.status import StatusError
from serving.versions.folders import BasePathError, wanted_versions
from serving.versions.loading import LoadOptions, load

State = get_model_status_pb2.ModelVersionStatus
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionState:
    """Where a version stands: a `ModelVersionStatus.State` value, and why it ended if it failed."""

    version: int
    state: int
    error: StatusError | None = None


@dataclass
class _Attempts:
    """To load one version: how many have failed, why the last one did, and when the next is due."""

    path: str
    failed: int = 0
    error: StatusError | None = None
    due: float = 0.0


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
        self._loading: dict[int, _Attempts] = {}  # this one and the next: the thread's own
        self._failed: set[int] = set()
        self._source: ModelSource | None = None
        self._in_turn = True
        self._wake = threading.Event()
        self._stopping = False
        self._settled = threading.Event()
        self._outcome: VersionState | None = None
        self._thread = threading.Thread(target=self._watch, name=f"model-{name}", daemon=True)
        self._thread.start()

    def serve(self, source: ModelSource | None, *, at_start: bool = False) -> None:
        """Changes what is served; returns at once.

        Args:
            source: None unloads every version.
            at_start: of the server, when older versions don't wait for a newer one's retries; the
                stock server has many threads to load with then, and one afterwards.
        """
        if self._source is None:
            self._settled.clear()
            self._outcome = None
            self._in_turn = not at_start
        self._source = source
        self._wake.set()

    def stop(self) -> None:
        """Unloads every version, waiting for the requests in flight, and ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def wait_until_settled(self, seconds: float) -> bool:
        """Waits until a version is available or given up; False after `seconds`.

        At the start of the server each version was tried then, be it in vain.
        """
        return self._settled.wait(seconds)

    def failure(self) -> VersionState | None:
        """The version that was available or given up first, where it was given up."""
        outcome = self._outcome
        return outcome if outcome and outcome.error else None

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

    def _watch(self) -> None:
        seconds = self._options.poll_seconds
        wanted: dict[int, str] = {}
        look_at = 0.0
        while not self._stopping:
            if look_at <= time.monotonic():
                wanted = self._look(wanted)
                look_at = time.monotonic() + seconds if seconds > 0 else math.inf
            self._reconcile(wanted)
            if self._wait_until(min([look_at, *(self._loading[v].due for v in self._turn())])):
                look_at = 0.0
        self._reconcile({})

    def _wait_until(self, then: float) -> bool:
        """Whether something changed before that time."""
        left = then - time.monotonic()
        changed = self._wake.wait(None if math.isinf(left) else max(left, 0))
        self._wake.clear()  # before what it stands for is looked at, else it could be lost
        return changed

    def _look(self, before: dict[int, str]) -> dict[int, str]:
        """Versions to serve; those of before where the base path can't be read."""
        source = self._source
        if source is None or self._options.poll_seconds < 0:
            return {}
        try:
            return wanted_versions(source)
        except BasePathError as error:
            _log.warning("File system access error: %s", error)
            return before

    def _reconcile(self, wanted: dict[int, str]) -> None:
        self._failed &= wanted.keys()
        for version in self._loading.keys() - wanted.keys():
            self._set_state(version, State.END, self._loading.pop(version).error)
        for version in wanted.keys() - self._failed - self._loading.keys():
            if not self.is_available(version):
                self._set_state(version, State.START)
                self._loading[version] = _Attempts(wanted[version])
        self._unload_all_but(wanted)
        for version in self._turn():
            if self._loading[version].due <= time.monotonic() and not self._stopping:
                self._load(version)
                self._unload_all_but(wanted)
        if wanted and not self._loading:
            self._decide(max(wanted))
        if self._outcome:
            self._settled.set()

    def _turn(self) -> list[int]:
        """Versions that may be loaded now, newest first."""
        versions = sorted(self._loading, reverse=True)
        return versions[:1] if self._in_turn and not self._settled.is_set() else versions

    def _load(self, version: int) -> None:
        """Makes one attempt."""
        attempts, options = self._loading[version], self._options
        self._set_state(version, State.LOADING)
        try:
            servable = load(
                attempts.path,
                model=self.name,
                version=version,
                graphs=self._graphs,
                options=options,
            )
        except StatusError as error:
            _log.error("Loading {name: %s version: %d} failed: %s", self.name, version, error)
            attempts.failed += 1
            attempts.error = error
            attempts.due = time.monotonic() + options.retry_seconds
            if attempts.failed <= options.max_retries:
                return
            self._failed.add(version)
            self._set_state(version, State.END, error)
        else:
            with self._lock:
                self._available[version] = servable
                self._states[version] = VersionState(version, State.AVAILABLE)
            _log.info("Loaded {name: %s version: %d}", self.name, version)
        del self._loading[version]
        self._decide(version)

    def _decide(self, version: int) -> None:
        """The first version to end its loading decides whether the model became available."""
        if self._outcome is None:
            with self._lock:
                self._outcome = self._states[version]

    def _unload_all_but(self, wanted: dict[int, str]) -> None:
        """Lowest first; of versions that are in place of the wanted ones, the highest stays."""
        with self._lock:
            unwanted = sorted(self._available.keys() - wanted.keys())
            in_place = bool(wanted) and wanted.keys().isdisjoint(self._available)
        for version in unwanted[:-1] if in_place else unwanted:
            self._unload(version)

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
