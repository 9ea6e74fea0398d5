"""How far a run's data and its model's ratings are from those of the last run that pushed.

`DriftValidator…` measures the features, and stops a run where one is too far. Ratings are compared
after Evaluator: the candidate's on this run's held-out interactions with the stable model's on its
own. They stop nothing. Of interactions in spans the newest one's are compared. All of it goes to
the report and, for Prometheus, to `report/drift.prom`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ml_metadata.metadata_store import MetadataStore
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.lineage import Push
from models.stability import ALERT, NOTICE, stability_index
from pipeline.evaluation import read_rating_counts
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
            evaluation to compare with.
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


NO_DRIFT: Final = Drift()


def read_drift(
    store: MetadataStore,
    pushes: Sequence[Push],
    *,
    run: int,
    anomalies: Sequence[Path],
    evaluation: Path,
) -> Drift:
    """Read what a run's validators and its Evaluator measured.

    Args:
        store: of the root.
        pushes: all of them.
        run: context of the run.
        anomalies: folders that its drift validators wrote.
        evaluation: folder that its Evaluator wrote.
    """
    earlier = (p for p in reversed(pushes) if p.label == STABLE and p.run not in (None, run))
    previous = next(earlier, None)
    ratings = None
    if previous is not None and previous.run is not None:
        [before] = [
            artifact
            for artifact in store.get_artifacts_by_context(previous.run)
            if artifact.type == "ModelEvaluation"
        ][-1:]
        index = stability_index(
            read_rating_counts(Path(before.uri)), read_rating_counts(evaluation)
        )
        ratings = None if math.isnan(index) else index
    return Drift(
        features=tuple(drift for folder in anomalies for drift in _features(folder)),
        ratings=ratings,
        since=_run_id(store, previous),
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


def _run_id(store: MetadataStore, push: Push | None) -> str:
    if push is None or push.run is None:
        return ""
    [context] = store.get_contexts_by_id([push.run])
    return str(context.name)
