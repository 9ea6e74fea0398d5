"""The trackers of a training, as the configuration asks for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import BadInput
from models.options import TrackingOptions
from models.tracking.mlflow_runs import MlflowTracker
from models.tracking.tensor_board import TensorBoardTracker
from models.tracking.tracker import ItemSpace, Plain, Tracker
from models.tracking.weights_and_biases import WandbTracker


class Trackers:
    """Several as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Args: those that are told everything, in this order."""
        self._all = tuple(trackers)

    def options(self, values: Mapping[str, Plain]) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.options(values)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.scalars(step, values)

    def results(self, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.results(values)

    def items(self, space: ItemSpace) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.items(space)

    def close(self) -> None:
        """See `Tracker`."""
        for tracker in self._all:
            tracker.close()


def open_trackers(options: TrackingOptions, folder: Path) -> Trackers:
    """TensorBoard in `<folder>/tensorboard`, and what the options name.

    Raises:
        BadInput: a library is not installed.
    """
    require_installed(options)
    trackers: list[Tracker] = [TensorBoardTracker(folder / "tensorboard")]
    if options.wandb is not None:
        trackers.append(WandbTracker(options.wandb, folder))
    if options.mlflow is not None:
        trackers.append(MlflowTracker(options.mlflow))
    return Trackers(trackers)


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
