"""A root that a benchmark may change: the newest version of another one, and what tells of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.layout import cards_folder, metadata_file, serving_folder
from pipeline.newest import newest_version


def copy_newest(root: Path, copy: Path) -> None:
    """Fill the folder `copy`; the version is there under the same name."""
    version = newest_version(serving_folder(root))
    shutil.copytree(version, serving_folder(copy) / version.name)
    shutil.copy(metadata_file(root), copy)
    if cards_folder(root).is_dir():
        shutil.copytree(cards_folder(root), cards_folder(copy))
