"""Where people watch trainings: TensorBoard always, Weights & Biases and MLflow where asked for.

All of them are `Tracker`s; a training knows that interface and nothing of the services.
"""

from models.tracking.opening import Trackers, open_trackers, require_installed
from models.tracking.tracker import ItemSpace, Tracker

__all__ = ["ItemSpace", "Tracker", "Trackers", "open_trackers", "require_installed"]
