"""What was measured: the versions of a root, and what the newest judged run came to."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from tfx.types import standard_artifacts

from pipeline.console.judged import Judged, Lost, NewestRun
from pipeline.drift import read_drift
from pipeline.evaluation import read_metrics, recorded_gates
from pipeline.layout import metadata_file, report_folder, serving_folder
from pipeline.outcome import GateDecision, read_ending
from pipeline.run_artifacts import newest_judged_run
from pipeline.versions import Version, read_versions
from serving.version_labels import config_file

_EVALUATION: Final = standard_artifacts.ModelEvaluation.TYPE_NAME


class Records:
    """Reads a root again only where something was pushed, labelled or run since."""

    def __init__(self, root: Path) -> None:
        """Reads nothing yet."""
        self._root = root.resolve()
        self._lock = threading.Lock()
        self._read: tuple[object, tuple[list[Version], NewestRun]] | None = None

    def read(self) -> tuple[list[Version], NewestRun]:
        """The versions, newest first, and the newest judged run.

        Raises:
            BadInput: nothing was pushed.
        """
        with self._lock:
            state = self._state()
            if self._read is None or self._read[0] != state:
                self._read = state, (read_versions(self._root), self._judged())
            return self._read[1]

    def _judged(self) -> NewestRun:
        run = newest_judged_run(metadata_file(self._root))
        if run is None:
            return None
        evaluation = run.folder(_EVALUATION)
        if evaluation is None:
            return Lost(run.name, run.artifact(_EVALUATION).uri)
        metrics = read_metrics(evaluation)
        gates = recorded_gates(run.parameter(_EVALUATION, "eval_config"))
        report = report_folder(self._root) / f"{run.name}.html"
        return Judged(
            run_id=run.name,
            ending=read_ending(run, tuple(GateDecision.of(gate, metrics) for gate in gates)),
            drift=read_drift(run),
            report=report.name if report.is_file() else "",
        )

    def _state(self) -> object:
        """Something that differs once anything of it has changed."""
        serving = serving_folder(self._root)
        files = (
            metadata_file(self._root),
            config_file(serving),
            serving,
            report_folder(self._root),
        )
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
