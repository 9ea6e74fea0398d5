"""Exports the index of the newest pushed version."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops

from components.whole_folders import written_beside
from models.candidates.building import build_index, read_index, read_inheritance
from models.candidates.export import export_index
from models.errors import BadInput
from pipeline.config import Configuration
from pipeline.layout import serving_folder
from pipeline.pushed import newest_version


def export_newest(root: Path, output: Path, configuration: Configuration) -> tuple[str, int]:
    """Write the files of `models.candidates.export`; the folder appears as a whole.

    Args:
        root: that `debut run` was given.
        output: the folder to make.
        configuration: how an index is built where the version has none.

    Returns:
        The version, and how many items there are.

    Raises:
        BadInput: nothing was pushed, the version is too old, every item is an anchor, or `output`
            is there already.
    """
    if output.exists():
        raise BadInput(f"{output} is there already. Give --output a folder that is not.")
    version = newest_version(serving_folder(root))
    shelf = tf.saved_model.load(str(version))._shelf
    if not hasattr(shelf, "index"):
        raise BadInput(
            f"{version} was trained before Debut could index its items. Run `debut run` again."
        )
    index = read_index(shelf)
    if not len(index.row):
        index = build_index(
            read_inheritance(shelf), configuration.index,
            bought=shelf.user_items.numpy(), offset=shelf.user_offset.numpy(),
            beam_args=configuration.run.beam_pipeline_args,
        )  # fmt: skip
    if not len(index.row):
        raise BadInput(
            f"Every item of {version} is an anchor, whose scores need no search: there is nothing "
            "to export."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(output.resolve().parent) as hidden:
        hidden.mkdir()
        items = export_index(shelf, index, hidden)
        hidden.rename(output)
    return version.name, items
