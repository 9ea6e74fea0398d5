"""Where a run's root keeps what, and where the sample lies.

Commands that only serve or ask need these paths without the seconds that importing TFX takes.
What is noted of a version, or given to another process, is absolute, as the next one may start
elsewhere; what is only shown stays as the root was given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODEL_NAME: Final = "debut"
CARDS: Final = "cards"
SAMPLE: Final = Path(__file__).parent.parent / "data" / "online_retail"


def serving_folder(root: Path) -> Path:
    """Where versions are pushed to, and a model server loads them from."""
    return root.resolve() / "serving" / MODEL_NAME


def artifacts_folder(root: Path) -> Path:
    """What the nodes wrote."""
    return root.resolve() / "artifacts"


def encoders_folder(root: Path) -> Path:
    """Encoders that were trained from scratch, each in a folder of its own."""
    return root.resolve() / "encoders"


def metadata_file(root: Path) -> Path:
    """What ML Metadata knows of all runs, pushes and labels."""
    return root.resolve() / "metadata.sqlite"


def report_folder(root: Path) -> Path:
    """Where the report of each run is written."""
    return root / "report"


def cards_folder(root: Path) -> Path:
    """Where the model card of each pushed version is written."""
    return report_folder(root) / CARDS


def change_folder(root: Path) -> Path:
    """Where `debut items` and `debut explore` make the next version, while they do."""
    return root.resolve() / ".change"


def set_aside_folder(root: Path) -> Path:
    """Where the rows are listed that `debut items add` could not use, a file for each version."""
    return root / "set-aside"


def log_file(root: Path) -> Path:
    """What the libraries logged during the last run."""
    return root / "run.log"
