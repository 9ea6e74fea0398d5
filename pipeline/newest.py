"""The newest pushed version of a root; finding it imports no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from models.errors import BadInput
from serving.version_labels import versions_on_disk


def newest_version(serving: Path) -> Path:
    """The folder of the newest version under `serving`.

    Raises:
        BadInput: there is none.
    """
    versions = versions_on_disk(serving)
    if not versions:
        raise BadInput(
            f"No version was pushed to {serving} yet. Run `debut run` first, or give --root the "
            "folder that it was given."
        )
    return serving / str(versions[0])
