"""What a training leaves behind for people: scalars for trackers, a record for the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from absl import logging
from pydantic import BaseModel

from models.inheritance.kernel import KernelSettings
from models.rules import RuleCount
from models.tracking import Trackers

RECORD_FILE: Final = "training.json"
SQUARED_ERROR: Final = "squared_error"  # of ratings on the eval split


class CurvePoint(BaseModel):
    """Metrics at one validated step."""

    step: int
    values: dict[str, float]


class MeasuredPoint(BaseModel):
    """What was measured at one number of first interactions, or one share of all in per cent."""

    at: int
    values: dict[str, float]


@dataclass(frozen=True)
class FineTuned:
    """Recall@20 of what new items of the simulated launch inherit.

    Attributes:
        before: with the frozen encoder.
        after: with the fine-tuned one.
        trainable: number of weights that were trained.
        error: standard error of the difference, over the launch's users.
    """

    before: float
    after: float
    trainable: int
    error: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the fine-tuned weights were kept: what gains less may be chance."""
        return self.after > self.before + self.error


@dataclass(frozen=True)
class Compressed:
    """What became of the encoder.

    Attributes:
        before: bytes of its weights.
        after: of those that are served.
        agreement: mean cosine of the catalogue's vectors with those of before.
    """

    before: int
    after: int
    agreement: float


class TrainingRecord(BaseModel):
    """One training in numbers, `before` and `after` it; `measured_on` says what these are of.

    `start` is "warm", or "fresh" with the reason where a base model did not fit; `replayed` counts
    the interactions of older spans that gradient descent drew from;
    `fine_tuned` is None where the encoder was frozen, `compressed` where it was not made small, or
    had been before; `encoder` is what reads the texts, in words; `kernel` holds the settings that
    were chosen;
    `first_interactions` and `labelled_share` are the curves of `models.curves`, which a warm start
    does not draw;
    `exposure` is the curve of `models.exposure.balancing`, `exposure_strength` what was chosen on
    it;
    `rules` are those of the shop, as they bear on its catalogue;
    `untracked` names services that failed while they were told of the training;
    `tuned` holds what a Tuner found, by the name of the option.
    """

    start: str
    replayed: int
    before: dict[str, float]
    after: dict[str, float]
    kept_step: int
    curve: list[CurvePoint]
    fine_tuned: FineTuned | None
    compressed: Compressed | None = None
    encoder: str = "an encoder of texts"
    kernel: dict[str, float]
    items: int
    users: int
    interactions: int
    implicit: bool
    parameters: int
    exposure: list[MeasuredPoint] = []
    exposure_strength: float = 0.0
    first_interactions: list[MeasuredPoint] = []
    labelled_share: list[MeasuredPoint] = []
    rules: list[RuleCount] = []
    untracked: list[str] = []
    tuned: dict[str, float]


def measured_on(metric: str) -> str:
    """What a training's values before and after are measured on, in words."""
    return "eval split" if metric == SQUARED_ERROR else "simulated new items, at 20"


class TrainingRecorder:
    """Tells trackers the scalars as they come, and writes the record at the end."""

    def __init__(self, folder: Path, trackers: Trackers) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._trackers = trackers
        self.curve: list[CurvePoint] = []

    def step(self, step: int, values: dict[str, float]) -> None:
        """Note the values of one validated step."""
        self.curve.append(CurvePoint(step=step, values=values))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        logging.info("Step %d: %s", step, shown)
        self._trackers.scalars(step, values)

    def kernel(self, settings: KernelSettings, recall: float) -> None:
        """Note what some settings of the kernel are worth."""
        logging.info("Recall %.4f on simulated new items with %s", recall, settings)

    def finish(self, record: TrainingRecord) -> None:
        """Write the record as JSON."""
        self._trackers.results(record.after)
        record = record.model_copy(update={"untracked": self._trackers.lost})
        (self._folder / RECORD_FILE).write_text(record.model_dump_json(indent=1))


def read_record(folder: Path) -> TrainingRecord:
    """Read the record of a `ModelRun` artifact's folder."""
    return TrainingRecord.model_validate_json((folder / RECORD_FILE).read_text())
