"""`ModelRegistry`: every model by name, labels, and the change from one configuration to the next.

A configuration supersedes the one before: models left out of it are unloaded. It is checked as a
whole before anything of it takes effect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from serving.config import model_config
from serving.runtime.servable import Servable
from serving.status import StatusError, invalid_argument, not_found
from serving.versions.loading import LoadOptions
from serving.versions.served_model import ServedModel, VersionState

_WAIT_SECONDS = 0.1


class ModelRegistry:
    """The models of a server. Every method may be called from any thread."""

    def __init__(self, options: LoadOptions, *, labels_for_unavailable: bool = False) -> None:
        """Serves nothing until the first `reload`.

        Args:
            options: for every model.
            labels_for_unavailable: a new label may point to a version that is not available.
        """
        self._options = options
        self._labels_for_unavailable = labels_for_unavailable
        self._change = threading.Lock()
        self._models: dict[str, ServedModel] = {}
        self._served: frozenset[str] = frozenset()
        self._labels: Mapping[str, Mapping[str, int]] = {}

    def reload(
        self,
        config: config_pb2.ModelServerConfig,
        *,
        keep_waiting: Callable[[], bool] = lambda: True,
        at_start: bool = False,
    ) -> None:
        """Takes over a configuration and waits for a version of each model new in it.

        Args:
            config: a `model_config_list`.
            keep_waiting: asked again and again while a new model has no version yet.
            at_start: of the server.

        Raises:
            StatusError: refused (nothing has changed); UNKNOWN: a new model failed to load;
                INVALID_ARGUMENT: a model is served, but its requests can't be logged.
        """
        with self._change:
            model_config.check_list(config)
            model_config.check_unchanged_platforms(config, dict.fromkeys(self._served))
            model_config.check_labels(
                config,
                current=self._labels,
                is_available=self._is_available,
                allow_unavailable=self._labels_for_unavailable,
            )
            new = self._apply(model_config.sources(config), at_start=at_start)
        _wait(new, keep_waiting, noun="servable" if at_start else "model")
        model_config.check_logging(config)

    def _apply(
        self, sources: list[model_config.ModelSource], *, at_start: bool
    ) -> list[ServedModel]:
        """Starts, changes and drops models; returns those that were not served before."""
        # First: a version that a label leaves may be gone as soon as its model knows.
        self._labels = {source.name: source.labels for source in sources}
        new = []
        for source in sources:
            model = self._models.get(source.name)
            if model is None:
                model = ServedModel(source.name, self._options)
                self._models = {**self._models, source.name: model}
            if source.name not in self._served:
                new.append(model)
            model.serve(source, at_start=at_start)
        names = frozenset(source.name for source in sources)
        for name in self._served - names:
            self._models[name].serve(None)
        self._served = names
        return new

    def stop(self) -> None:
        """Unloads everything, waiting for the requests in flight."""
        with self._change:
            for model in self._models.values():
                model.stop()

    @contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """The version a request asks for, kept loaded until the block ends.

        Raises:
            StatusError: no name, unknown label (INVALID_ARGUMENT), or nothing loaded (NOT_FOUND).
        """
        name, version = spec.name, self._version(spec)
        model = self._models.get(name)
        servable = model.lease(version) if model is not None else None
        if servable is None:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {asked}")
        try:
            yield servable
        finally:
            servable.release()

    def states(self, spec: model_pb2.ModelSpec) -> list[VersionState]:
        """States of the version named, or of all versions seen; a label is not looked at.

        Raises:
            StatusError: NOT_FOUND where there are none.
        """
        model = self._models.get(spec.name)
        states = model.states() if model is not None else []
        if spec.HasField("version"):
            number = spec.version.value
            states = [state for state in states if state.version == number]
            if not states:
                raise not_found(f"Could not find version {number} of model {spec.name}")
        if not states:
            raise not_found(f"Could not find any versions of model {spec.name}")
        return states

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus, as gRPC and REST both answer it."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        for state in self.states(request.model_spec):
            entry = response.model_version_status.add(version=state.version, state=state.state)
            entry.status.SetInParent()
            if state.error is not None:
                entry.status.error_code = state.error.number
                entry.status.error_message = state.error.message
        return response

    def _version(self, spec: model_pb2.ModelSpec) -> int | None:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return None
        if choice == "version":
            number: int = spec.version.value
            return number
        labels = self._labels.get(spec.name, {})
        if spec.version_label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return labels[spec.version_label]

    def _is_available(self, name: str, version: int) -> bool:
        model = self._models.get(name)
        return model is not None and model.is_available(version)


def _wait(models: list[ServedModel], keep_waiting: Callable[[], bool], *, noun: str) -> None:
    for model in models:
        while not model.wait_until_settled(_WAIT_SECONDS):
            if not keep_waiting():
                raise StatusError(
                    grpc.StatusCode.CANCELLED, f"Stopped waiting for model {model.name}"
                )
    named = sorted(models, key=lambda model: model.name)
    failed = [(model.name, state) for model in named if (state := model.failure())]
    if failed:
        raise StatusError(
            grpc.StatusCode.UNKNOWN,
            f"{len(failed)} {noun}(s) did not become available: {{"
            + "".join(
                f"{{{{name: {name} version: {state.version}}} due to error: {state.error}}}, "
                for name, state in failed
            )
            + "}",
        )
