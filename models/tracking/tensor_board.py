"""TensorBoard: scalars, hyper-parameters, and the item space for its projector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams

from models.tracking.tracker import ItemSpace, Plain

VECTORS: Final = "items.tsv"
NAMES: Final = "item_names.tsv"
CONFIG: Final = "projector_config.pbtxt"


class TensorBoardTracker:
    """Event files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writer = tf.summary.create_file_writer(str(folder))

    def options(self, values: Mapping[str, Plain]) -> None:
        """For the tab HParams."""
        with self._writer.as_default():
            hparams.hparams(dict(values))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """For the tab Scalars."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def results(self, values: Mapping[str, float]) -> None:
        """As `result/…` at step 0, which the tab HParams sorts trainings by."""
        self.scalars(0, {f"result/{name}": value for name, value in values.items()})

    def items(self, space: ItemSpace) -> None:
        """For the tab Projector, which reads tables of tabs and line ends."""
        np.savetxt(self._folder / VECTORS, space.embedding, fmt="%.5g", delimiter="\t")
        rows = zip(space.item_id, space.name, space.state, strict=True)
        lines = ["id\tname\tstate", *("\t".join(map(_cell, row)) for row in rows)]
        (self._folder / NAMES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        config = projector.ProjectorConfig()
        config.embeddings.add(
            tensor_name="items", tensor_path=VECTORS, metadata_path=NAMES,
            tensor_shape=space.embedding.shape,
        )  # fmt: skip
        (self._folder / CONFIG).write_text(text_format.MessageToString(config))

    def close(self, *, failed: bool) -> None:
        """Writes what is buffered; TensorBoard knows no end of a run."""
        del failed
        self._writer.close()


def _cell(text: str) -> str:
    return " ".join(text.split())
