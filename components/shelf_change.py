"""What changes of a shelf share: the users before, the saved version, and the gate after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.catalogue.gate import Answers, Gate, Loaded
from models.export.quick_calls import quick_first_calls
from models.export.saved_shelf import save_shelf
from models.shelf.offered import offered

Check = Callable[[Answers], None]


def users_of(version: Path) -> list[str]:
    """Ids of the users that a pushed version knows."""
    return (version / "assets" / "users.txt").read_text(encoding="utf-8").split("\n")[:-1]


def save_changed(model: Any, base: Path, candidate: Path, gate: Gate) -> Check:
    """Save a changed model as a version of its own.

    Args:
        model: a loaded SavedModel.
        base: the version it was loaded from.
        candidate: folder of the new one, which does not exist yet.
        gate: that asked the model before it was changed.

    Returns:
        The gate for whoever loads the new version; raises `Refused`.
    """
    save_shelf(model, base, candidate)
    shelf = model._shelf
    unavailable = [item.decode() for item in shelf.item_id.numpy()[~offered(shelf)]]
    return lambda answers: gate.check(answers, unavailable)


@quick_first_calls()
def check_saved(candidate: Path, check: Check) -> None:
    """Ask a saved version in this process.

    Raises:
        Refused: an answer is not what it has to be.
    """
    check(Loaded(tf.saved_model.load(str(candidate))))
