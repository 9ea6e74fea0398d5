"""What gives a product that comes after the training its place on the shelf, kept in a file.

The file lies beside the served model, in a folder that model servers don't read. It holds what the
closed forms of training found and the shelf does not need for answers, so that a later product is
aligned by the same code and with the same numbers as if it had been in the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Rows
from models.companding import read_floats
from models.few_shot.evidence import Choices
from models.inheritance.aligner import Aligner
from models.inheritance.alignment import Alignment
from models.inheritance.back_off import BackOff
from models.inheritance.kernel import (
    ItemKernel,
    ItemView,
    KernelScales,
    KernelSettings,
    place_beside,
    place_in_order,
)
from models.inheritance.quality import quality_towards
from models.products import Described
from models.shelf.sparse_arrays import of_arrays, to_arrays

# TensorFlow keeps what else belongs to a model in this folder.
FILE: Final = Path("assets.extra", "admission.npz")
_BATCH: Final = 1024


class Admitted(NamedTuple):
    """What T products inherit: int32 [T, K], float32 [T, K] and three times float32 [T]."""

    anchor_index: npt.NDArray[np.int32]
    anchor_weight: Floats
    log_popularity: Floats
    quality: Floats
    expected_share: Floats


class Categories(NamedTuple):
    """Where T products and A anchors stand: columns of `models.rules.Ruled`.

    Attributes:
        level: int64 [T, L], of the products.
        backs_off: int32 [T], of these.
        anchors: int64 [A, L].
    """

    level: npt.NDArray[np.int64]
    backs_off: npt.NDArray[np.int32]
    anchors: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Admission:
    """How a catalogue of training admits further products.

    Attributes:
        aligner: of its anchors, by all interactions.
        quality_weight: float32 [A], of `models.inheritance.quality.FittedQuality`.
        choices: of its users.
        items: how many rows of the shelf it has; those behind came later.
    """

    aligner: Aligner
    quality_weight: Floats
    choices: Choices
    items: int

    def __call__(
        self, items: ItemView, width: int, *, reference: Floats,
        categories: Categories | None = None,
    ) -> Admitted:  # fmt: skip
        """Align T products as training aligned those without interactions.

        Args:
            items: the products.
            width: K.
            reference: float32 [A], mean weights, which a score is relative to.
            categories: of products and anchors, where rules let some inherit from these.
        """
        parts = []
        back_off = categories and BackOff(categories.anchors, self.aligner.log_popularity)
        for start in range(0, len(items.place), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(items.place)))
            aligned = self.aligner(items.rows(rows), width)
            if categories is not None and back_off is not None:
                aligned = back_off(aligned, categories.level[rows], categories.backs_off[rows])
            quality = quality_towards(aligned.towards, self.quality_weight)
            parts.append((aligned.anchor, aligned.weight, aligned.log_popularity, quality))
        index, weight, log_popularity, quality = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        share = self.choices.expected_share(index, weight, reference)
        return Admitted(index, weight, log_popularity, quality, share)

    def view(self, described: Described, ids: npt.NDArray[np.object_], rows: Rows) -> ItemView:
        """Products as training's items are seen: a term that no anchor has is like none of theirs.

        Args:
            described: T products.
            ids: of the whole shelf, those of training first.
            rows: of the products, int64 [T].
        """
        known = place_in_order(ids[: self.items])
        places = np.concatenate([known, place_beside(ids.tolist(), self.items)])
        width = self.aligner.anchors.terms.shape[1]
        terms = described.terms.tocsc()[:, :width]
        terms.resize(len(rows), width)
        return ItemView(
            described.text, terms.tocsr(), places[rows], described.price, described.brand
        )

    def save(self, model: Path) -> None:
        """Write the file beside a SavedModel."""
        aligner, kernel = self.aligner, self.aligner.kernel
        view = aligner.anchors._asdict()
        arrays: dict[str, Any] = {
            "items": self.items,
            "settings": kernel.settings,
            "scales": kernel.scales,
            "gram": aligner.gram.astype(np.float32),
            "log_popularity": aligner.log_popularity,
            "quality_weight": self.quality_weight,
            "choices.total": self.choices.total,
            "choices.items": self.choices.items,
            **to_arrays("choices.history", self.choices.history),
            **to_arrays("anchors.terms", view.pop("terms")),
            **{f"anchors.{name}": values for name, values in view.items()},
            **{f"alignment.{name}": values for name, values in aligner.alignment.arrays().items()},
        }
        (model / FILE).parent.mkdir(exist_ok=True)
        np.savez(model / FILE, **arrays)

    @classmethod
    def load(cls, model: Path, shelf: Any) -> Admission:
        """Read the file, and compute what waits for no product.

        Args:
            model: the SavedModel that it lies beside.
            shelf: of that model, loaded.
        """
        with np.load(model / FILE) as file:
            arrays = dict(file)
        aligner = Aligner(
            anchors=ItemView(
                terms=of_arrays("anchors.terms", arrays),
                **{name: arrays[f"anchors.{name}"] for name in ItemView._fields if name != "terms"},
            ),
            kernel=ItemKernel.scaled(
                KernelSettings(*arrays["settings"].tolist()),
                KernelScales(*arrays["scales"].tolist()),
            ),
            alignment=Alignment.of_arrays(
                {
                    name.removeprefix("alignment."): values
                    for name, values in arrays.items()
                    if name.startswith("alignment.")
                }
            ),
            gram=arrays["gram"],
            log_popularity=arrays["log_popularity"],
        )
        return cls(
            aligner=aligner,
            quality_weight=arrays["quality_weight"],
            choices=Choices.of(
                of_arrays("choices.history", arrays),
                read_floats(shelf.served, "anchor_teacher"),
                total=arrays["choices.total"],
                items=int(arrays["choices.items"]),
            ),
            items=int(arrays["items"]),
        )
