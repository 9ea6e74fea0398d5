"""Gates, drift and versions as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.console.judged import Judged, Lost, NewestRun
from pipeline.verdict import verdict

if TYPE_CHECKING:
    from pipeline.outcome import GateDecision
    from pipeline.versions import Version

Json = dict[str, Any]


def overview(versions: Sequence[Version], run: NewestRun) -> Json:
    """The versions, newest first, and the newest judged run, as JSON."""
    return {
        "versions": [_version(version) for version in versions],
        "run": None if run is None else {"run_id": run.run_id, **_run(run)},
    }


def _version(version: Version) -> Json:
    metrics = [{"name": name, "value": _measured(value)} for name, value in version.metrics.items()]
    return vars(version) | {"metrics": metrics}


def _run(run: Judged | Lost) -> Json:
    return {"lost": run.evaluation} if isinstance(run, Lost) else _judged(run)


def _judged(judged: Judged) -> Json:
    drift = judged.drift
    return {
        "lost": "",
        "verdict": verdict(judged.ending)._asdict(),
        "report": judged.report,
        "gates": [_gate(decision) for decision in judged.ending.decisions],
        "drift": {
            "since": drift.since,
            "ratings": _measured(drift.ratings),
            "uncompared": drift.explain_uncompared(),
            "verdict": drift.verdict,
            "features": [feature._asdict() for feature in drift.features],
        },
    }


def _gate(decision: GateDecision) -> Json:
    return decision.gate.model_dump() | {
        "candidate": _measured(decision.candidate),
        "baseline": _measured(decision.baseline),
        "passed": decision.passed,
    }


def _measured(value: float | None) -> float | None:
    """None for what was not measured, which JSON has no other word for."""
    return None if value is None or math.isnan(value) else value
