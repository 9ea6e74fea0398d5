"""Paths that the compiled pipeline names: on the shared volume, and inside the image.

The image holds the code in a folder that only it knows, so what ships with the code is named by
`IN_IMAGE` and the path below the repository; the container entry point finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.layout import MODEL_NAME

IN_IMAGE: Final = "image://"

_REPOSITORY: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Volume:
    """What lies below the folder that all tasks of all runs share."""

    mount: str

    @property
    def pushed_to(self) -> str:
        """The folder of the pushed versions, which model servers mount too."""
        return f"{self.mount.rstrip('/')}/{MODEL_NAME}"

    @property
    def registry(self) -> str:
        """The folder of `components.registry`."""
        return f"{self.mount.rstrip('/')}/registry"


def in_image(path: Path) -> str:
    """How the compiled pipeline names a path of this repository."""
    return f"{IN_IMAGE}{path.relative_to(_REPOSITORY)}"


def resolve(name: str) -> str:
    """The path behind such a name; another text stays as it is."""
    if name.startswith(IN_IMAGE):
        return str(_REPOSITORY / name.removeprefix(IN_IMAGE))
    return name
