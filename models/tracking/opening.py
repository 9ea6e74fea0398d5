"""The trackers of a training, as the configuration asks for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from absl import logging

from models.errors import BadInput
from models.options import TrackingOptions
from models.tracking.mlflow_runs import MlflowTracker
from models.tracking.tensor_board import TensorBoardTracker
from models.tracking.tracker import ItemSpace, Plain, Tracker
from models.tracking.weights_and_biases import WandbTracker


class Trackers:
    """Several as one: TensorBoard, and services that no training waits for or fails by."""

    def __init__(self, board: Tracker, services: Mapping[str, Callable[[], Tracker]]) -> None:
        """Open the services.

        Args:
            board: is told everything first, and may fail.
            services: how each is opened, by its name. One that raises is told nothing more.
        """
        self._board = board
        self._services: dict[str, Tracker] = {}
        self._lost: list[str] = []
        for name, opened in services.items():
            with self._watched(name):
                self._services[name] = opened()

    @property
    def lost(self) -> list[str]:
        """Services that failed, and so have a part of the training at most."""
        return self._lost

    def options(self, values: Mapping[str, Plain]) -> None:
        """See `Tracker`."""
        self._tell(lambda tracker: tracker.options(values))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._tell(lambda tracker: tracker.scalars(step, values))

    def results(self, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._tell(lambda tracker: tracker.results(values))

    def items(self, space: ItemSpace) -> None:
        """See `Tracker`."""
        self._tell(lambda tracker: tracker.items(space))

    def close(self, *, failed: bool) -> None:
        """See `Tracker`."""
        self._tell(lambda tracker: tracker.close(failed=failed))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        call(self._board)
        for name, tracker in list(self._services.items()):
            with self._watched(name):
                call(tracker)

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception:  # whatever the service's own library raises
            self._services.pop(name, None)
            self._lost.append(name)
            logging.exception("Training goes on without tracking.%s, which failed", name)


@contextmanager
def open_trackers(options: TrackingOptions, folder: Path) -> Iterator[Trackers]:
    """TensorBoard in `<folder>/tensorboard`, and what the options name, closed at the end.

    Raises:
        BadInput: a library is not installed.
    """
    require_installed(options)
    services: dict[str, Callable[[], Tracker]] = {}
    if (project := options.wandb) is not None:
        services["wandb"] = lambda: WandbTracker(project, folder)
    if (experiment := options.mlflow) is not None:
        services["mlflow"] = lambda: MlflowTracker(experiment)
    trackers = Trackers(TensorBoardTracker(folder / "tensorboard"), services)
    try:
        yield trackers
    except BaseException:
        trackers.close(failed=True)
        raise
    trackers.close(failed=False)


def require_installed(options: TrackingOptions) -> None:
    """Check for the libraries before hours of training.

    Raises:
        BadInput: one is not installed.
    """
    for name in ("wandb", "mlflow"):
        if getattr(options, name) is not None and importlib.util.find_spec(name) is None:
            raise BadInput(
                f"tracking.{name} is set, but {name} is not installed. Install Debut with its "
                f"extra `tracking`, or set tracking.{name} to null."
            )
