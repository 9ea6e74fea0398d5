"""Exports vectors of the newest pushed version, for an index of another engine."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops

from components.whole_folders import put_at_once, written_beside
from models.candidates.export import export_vectors
from models.errors import BadInput
from pipeline.layout import serving_folder
from pipeline.newest import newest_version


def export_newest(root: Path, output: Path) -> tuple[str, int]:
    """Write the files of `models.candidates.export`; the folder appears as a whole.

    Args:
        root: that `debut run` was given.
        output: the folder to make.

    Returns:
        The version, and how many items there are.

    Raises:
        BadInput: nothing was pushed, the version is too old, every item is an anchor, or `output`
            is there already or can't be made.
    """
    if output.exists():
        raise BadInput(f"{output} is there already. Give --output a folder that is not.")
    version = newest_version(serving_folder(root))
    shelf = tf.saved_model.load(str(version))._shelf
    if len(shelf.served.anchor_teacher.numpy()) == len(shelf.item_id.numpy()):
        raise BadInput(
            f"Every item of {version} is an anchor, whose scores need no search: there is nothing "
            "to export."
        )
    with written_beside(output.resolve().parent) as hidden:
        try:
            hidden.mkdir(parents=True)
        except OSError as error:
            raise BadInput(
                f"{output} can't be made ({error.strerror}). Give --output a folder below one "
                "that can be written."
            ) from error
        items = export_vectors(shelf, hidden)
        put_at_once(hidden, output)
    return version.name, items
