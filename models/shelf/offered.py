"""Which items of a shelf may be recommended: those on sale that the rules let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.rules import Rules
from models.shelf.pushed_columns import open_columns


def offered(shelf: Any) -> npt.NDArray[np.bool_]:
    """Of a loaded SavedModel: bool [I]."""
    found: npt.NDArray[np.bool_] = shelf.available.numpy()
    return found & shelf.rules.allowed.numpy() if hasattr(shelf, "rules") else found


def offered_in(version: Path) -> npt.NDArray[np.bool_]:
    """Of a pushed version, without its graph: bool [I]."""
    read = open_columns(version)
    found: npt.NDArray[np.bool_] = read("available")
    return found if Rules.load(version) is None else found & read("rules/allowed")
