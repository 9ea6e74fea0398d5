"""Weights & Biases. Its own variables hold: WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE=offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.tracking.tracker import ItemSpace, Plain


class WandbTracker:
    """One run of a project."""

    def __init__(self, project: str, folder: Path) -> None:
        """Begins the run.

        Args:
            project: of Weights & Biases.
            folder: for its files; an offline run is sent from there with `wandb sync`.
        """
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        # Its types are not whole.
        self._run: Any = wandb.init(
            project=project, dir=str(folder), settings=wandb.Settings(console="off", silent=True)
        )

    def options(self, values: Mapping[str, Plain]) -> None:
        """As the run's configuration."""
        self._run.config.update(dict(values))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """As its history."""
        self._run.log(dict(values), step=step)

    def results(self, values: Mapping[str, float]) -> None:
        """As its summary."""
        self._run.summary.update(dict(values))

    def items(self, space: ItemSpace) -> None:
        """As a table, whose embeddings the service can project."""
        import wandb

        columns = ["id", "name", "state", "embedding"]
        rows = zip(space.item_id, space.name, space.state, space.embedding.tolist(), strict=True)
        self._run.log({"items": wandb.Table(columns=columns, data=[list(row) for row in rows])})

    def close(self, *, failed: bool) -> None:
        """Ends the run."""
        self._run.finish(exit_code=1 if failed else 0)
