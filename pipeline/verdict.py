"""What a run came to, in words: the same in its report and in the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from serving.version_labels import CANARY

if TYPE_CHECKING:
    from pipeline.outcome import Ending


class Verdict(NamedTuple):
    """What became of the candidate, and why.

    Attributes:
        is_good: whether it is, or was already, in service, and nothing was refused on the way.
        headline: one line without a full stop.
        reasons: sentences.
    """

    is_good: bool
    headline: str
    reasons: tuple[str, ...]


def verdict(ending: Ending) -> Verdict:
    """Whether the candidate was pushed, and else what refused it, with the values."""
    reasons = _refusals(ending)
    if ending.version is not None:
        headline = ending.explain_repeat() or _pushed(ending, ending.version.name)
        if not ending.override:
            return Verdict(True, headline, ())
        return Verdict(False, headline, (f"Reason: {ending.override}", *reasons))
    if not ending.infra_blessed:
        reasons.append("InfraValidator refused the model: a server with it did not answer.")
    if reasons:
        return Verdict(False, "Refused: nothing was pushed", tuple(reasons))
    return Verdict(
        False,
        "Not pushed",
        (
            "Every gate passed, but nothing was pushed."
            if ending.is_finished
            else "Every gate passed, but the run did not come to its push: it goes on, or failed.",
        ),
    )


def _refusals(ending: Ending) -> list[str]:
    """What an override passes over."""
    reasons = []
    if not ending.blessed:
        refusing = [
            f"{decision.explain()}." for decision in ending.decisions if not decision.passed
        ]
        reasons += refusing or ["Evaluator refused the model, though it keeps the gates below."]
    if ending.withdrawn:
        reasons.append(f"A rollback took this model out of service: {ending.withdrawn}")
    return reasons


def _pushed(ending: Ending, version: str) -> str:
    place = " as the canary" if ending.label == CANARY else ""
    return f"Pushed version {version}{place}{', over a refusal' if ending.override else ''}"
