"""`--keep DIR` of benchmarks: a folder that must not be there yet. Who writes into it makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click


class _NewFolder(click.Path):
    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        folder = Path(value)
        if folder.exists():
            self.fail(f"{folder} exists; name a folder that does not.", param, ctx)
        return folder


NEW_FOLDER: Final = _NewFolder()
