"""What a training leaves for the next one, beside its model: the point from which that one goes on.

The served model holds most of it too, but as a graph and without the tokens by which a text is
known again. Here it is arrays, which load in a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from pydantic import BaseModel

from models.arrays import Floats
from models.few_shot.weights import EvidenceWeights
from models.inheritance.kernel import KernelSettings

_FOLDER: Final = "training_state"  # beside the folder of the served model
_ARRAYS: Final = "arrays.npz"
_FACTS: Final = "facts.json"


class Facts(BaseModel):
    """What must be the same for a training to go on from here.

    Attributes:
        architecture: options that decide the shape of weights and what they read, as JSON.
        implicit: whether all ratings were 1.
        splits: options that decide what is held out; none where an older Debut noted none.
    """

    architecture: str
    implicit: bool
    splits: dict[str, float | str] = {}


@dataclass(frozen=True)
class TrainingState:
    """Weights and settings of a finished training.

    Attributes:
        facts: what must be the same.
        kernel: settings as chosen.
        evidence: weights of first interactions.
        tokens: int32 [I, T] of the catalogue of then.
        text: float32 [I, hidden], the same as the encoder read it.
        towers: variables of `TwoTower`, in their order.
        encoder: those of the item encoder where it was fine-tuned or compressed, else none.
    """

    facts: Facts
    kernel: KernelSettings
    evidence: EvidenceWeights
    tokens: npt.NDArray[np.int32]
    text: Floats
    towers: Sequence[Floats]
    encoder: Sequence[npt.NDArray[Any]]

    def write(self, served: Path) -> None:
        """Write beside the folder of a served model."""
        folder = served.parent / _FOLDER
        folder.mkdir(parents=True)
        np.savez(
            folder / _ARRAYS,
            tokens=self.tokens,
            text=self.text,
            kernel=np.array(self.kernel),
            **{f"evidence_{name}": column for name, column in vars(self.evidence).items()},
            **_numbered("towers", self.towers),
            **_numbered("encoder", self.encoder),
        )
        (folder / _FACTS).write_text(self.facts.model_dump_json(indent=1))

    @classmethod
    def read(cls, served: Path) -> TrainingState | None:
        """Read what lies beside a served model; None where an older Debut wrote nothing there."""
        folder = served.parent / _FOLDER
        if not (folder / _FACTS).is_file():
            return None
        with np.load(folder / _ARRAYS) as arrays:
            evidence = {
                name.removeprefix("evidence_"): arrays[name]
                for name in arrays.files
                if name.startswith("evidence_")
            }
            return cls(
                facts=Facts.model_validate_json((folder / _FACTS).read_text()),
                kernel=KernelSettings(*map(float, arrays["kernel"])),
                evidence=EvidenceWeights(**evidence),
                tokens=arrays["tokens"],
                text=arrays["text"],
                towers=_in_order("towers", arrays),
                encoder=_in_order("encoder", arrays),
            )

    def known_texts(
        self, tokens: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which rows of a catalogue were read then: int64 [N] rows, and int64 [N] theirs here."""
        place = {row.tobytes(): index for index, row in enumerate(self.tokens)}
        found = np.array([place.get(row.tobytes(), -1) for row in tokens], np.int64)
        rows = np.flatnonzero(found >= 0)
        return rows, found[rows]


def assign(variables: Sequence[tf.Variable], values: Sequence[npt.NDArray[Any]]) -> None:
    """Give variables the values of others, in the same order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _numbered(name: str, arrays: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {f"{name}_{place:04d}": array for place, array in enumerate(arrays)}


def _in_order(name: str, arrays: np.lib.npyio.NpzFile) -> list[npt.NDArray[Any]]:
    return [arrays[key] for key in sorted(arrays.files) if key.startswith(f"{name}_")]
