"""The newest run that Evaluator judged, as far as it can still be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipeline.drift import Drift
    from pipeline.outcome import Ending


class Judged(NamedTuple):
    """A run that Evaluator judged.

    Attributes:
        run_id: TFX's, the time it started.
        ending: what became of its candidate.
        drift: from the run before that pushed.
        report: file name of its page under `report/`; empty where that isn't there.
    """

    run_id: str
    ending: Ending
    drift: Drift
    report: str


class Lost(NamedTuple):
    """A run that Evaluator judged, whose evaluation is not where it was written.

    Attributes:
        run_id: TFX's, the time it started.
        evaluation: the folder that was removed, or that the root was moved away from.
    """

    run_id: str
    evaluation: str


NewestRun = Judged | Lost | None
"""The newest run that Evaluator judged; None before the first one."""
