"""MLflow. MLFLOW_TRACKING_URI says where to; a folder (`file:…`) needs no server.

MLflow takes a folder only with MLFLOW_ALLOW_FILE_STORE=true: it develops its databases instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from models.tracking.tensor_board import TensorBoardTracker
from models.tracking.tracker import ItemSpace, Plain

_BATCH: Final = 100  # parameters that MLflow takes at a time


class MlflowTracker:
    """One run of an experiment."""

    def __init__(self, experiment: str) -> None:
        """Begins the run; the experiment is made where it is missing."""
        from mlflow import MlflowClient

        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run: str = self._client.create_run(number).info.run_id

    def options(self, values: Mapping[str, Plain]) -> None:
        """As parameters."""
        from mlflow.entities import Param

        given = [Param(name, str(value)) for name, value in values.items()]
        for start in range(0, len(given), _BATCH):
            self._client.log_batch(self._run, params=given[start : start + _BATCH])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """As metrics with a step."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def results(self, values: Mapping[str, float]) -> None:
        """As metrics `result/…`."""
        self.scalars(0, {f"result/{name}": value for name, value in values.items()})

    def items(self, space: ItemSpace) -> None:
        """As the files of TensorBoard's projector, among the artifacts."""
        with TemporaryDirectory() as scratch:
            board = TensorBoardTracker(Path(scratch) / "projector")
            board.items(space)
            board.close(failed=False)
            self._client.log_artifacts(self._run, str(Path(scratch)))

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")
