"""How far a run's data and its model's ratings are from those of the last run that pushed.

`DriftValidator…` measures the features, and stops a run where one is too far. Ratings are compared
after Evaluator: the candidate's on this run's held-out interactions with the stable model's on its
own. They stop nothing. Of interactions in spans the newest one's are compared. All of it goes to
the report and, for Prometheus, to `report/drift.prom`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import standard_artifacts

from components.lineage import read_pushes
from models.stability import ALERT, NOTICE, chance_index, stability_index
from pipeline.evaluation import read_rating_counts
from pipeline.run_artifacts import RunArtifacts, run_behind
from serving.version_labels import STABLE

METRICS_FILE: Final = "drift.prom"
DIVERGENCE: Final = "debut_feature_divergence"
STABILITY: Final = "debut_rating_stability_index"
MEASURED: Final = "debut_drift_measured_seconds"


class FeatureDrift(NamedTuple):
    """Jensen-Shannon divergence of one feature in one split, and the gate's threshold."""

    feature: str
    split: str
    divergence: float
    threshold: float


class Drift(NamedTuple):
    """Against the last run that pushed a stable version; nothing where there was none.

    Attributes:
        features: what TFDV compared.
        ratings: population stability index of the predicted ratings; None without an earlier
            evaluation to compare with, or where so few ratings differ as much by chance.
        since: that run's id; empty where there is none.
    """

    features: tuple[FeatureDrift, ...] = ()
    ratings: float | None = None
    since: str = ""

    @property
    def verdict(self) -> str:
        """`alert`, `notice` or `none` for the ratings; empty where they were not compared."""
        if self.ratings is None:
            return ""
        return next(
            (name for name, least in (("alert", ALERT), ("notice", NOTICE))
             if self.ratings >= least), "none"
        )  # fmt: skip

    def explain_uncompared(self) -> str:
        """Why the ratings were not compared with an earlier run's; empty where they were."""
        if self.ratings is not None:
            return ""
        return (
            "Predicted ratings are not compared: of so few, chance alone makes as much of a "
            "difference, or the earlier ones are gone."
        )


NO_DRIFT: Final = Drift()


def read_drift(run: RunArtifacts) -> Drift:
    """Read what a run's validators and its Evaluator measured; of what was removed, nothing."""
    previous = _last_pushed(run)
    return Drift(
        features=tuple(
            drift
            for artifact in run.artifacts()
            if artifact.type == standard_artifacts.ExampleAnomalies.TYPE_NAME
            and "/DriftValidator" in artifact.uri
            for drift in _features(Path(artifact.uri))
        ),
        ratings=None if previous is None else _stability(previous, run),
        since="" if previous is None else previous.name,
    )


def write_drift_metrics(drift: Drift, folder: Path, *, seconds: float) -> Path:
    """Write the values in the text format that node exporter's textfile collector reads.

    The file is replaced at once.

    Args:
        drift: of the newest run.
        folder: of the reports, which exists.
        seconds: unix time of the measurement.
    """
    registry = CollectorRegistry()
    divergence = Gauge(
        DIVERGENCE, "Jensen-Shannon divergence from the last pushed run's data, 0 to 1.",
        ["feature", "split"], registry=registry,
    )  # fmt: skip
    for feature in drift.features:
        divergence.labels(feature.feature, feature.split).set(feature.divergence)
    if drift.ratings is not None:
        Gauge(
            STABILITY, "Population stability index of the predicted ratings.", registry=registry
        ).set(drift.ratings)
    Gauge(MEASURED, "Unix time of the run that measured it.", registry=registry).set(seconds)
    file = folder / METRICS_FILE
    write_to_textfile(str(file), registry)
    return file


def _last_pushed(run: RunArtifacts) -> RunArtifacts | None:
    """The run behind the newest stable push that this one is not behind."""
    behind = (
        push.run
        for push in reversed(read_pushes(run.store))
        if push.label == STABLE and push.run not in (None, run.id)
    )
    context = next(behind, None)
    return None if context is None else run_behind(run.store, context)


def _stability(before: RunArtifacts, after: RunArtifacts) -> float | None:
    """Of the predicted ratings; None where one of the two has no evaluation any more.

    Also where chance alone may come to a notice, and they differ by no more than it does.
    """
    folders = [run.folder(standard_artifacts.ModelEvaluation.TYPE_NAME) for run in (before, after)]
    counts = [read_rating_counts(folder) for folder in folders if folder is not None]
    if len(counts) < len(folders):
        return None
    index = stability_index(*counts)
    if math.isnan(index):
        return None
    chance = chance_index(*counts)
    return None if chance >= NOTICE and index < chance else index


def _features(folder: Path) -> list[FeatureDrift]:
    found = []
    for file in sorted(folder.glob("SplitPair-*/SchemaDiff.pb")):
        anomalies = anomalies_pb2.Anomalies()
        anomalies.ParseFromString(file.read_bytes())
        # The same split on both sides: train_train, new_items_new_items.
        pair = file.parent.name.removeprefix("SplitPair-")
        split = pair[: len(pair) // 2]
        for info in anomalies.drift_skew_info:
            for measured in info.drift_measurements:
                feature = ".".join(info.path.step)
                found.append(FeatureDrift(feature, split, measured.value, measured.threshold))
    return found
