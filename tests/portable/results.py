"""What a stage wrote, as plain values that do not depend on the runner.

Left out is what runners may decide: the order of rows and of terms that are as frequent as each
other, the number of files, and the quantiles that sketches estimate.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tfx.types import standard_artifacts

from components.ingestion.summary import IngestionSummary, read_summary
from pipeline.evaluation import read_metrics, read_rating_counts
from tests.components.ingestion.helpers import SPLITS, read_quarantine, read_split
from tests.portable.stages import DESCRIBING

Json = dict[str, Any]


def ingested(output: Path) -> tuple[dict[str, list[Json]], list[Json], IngestionSummary]:
    """Records by split, rows set aside, and the counts."""
    folder = output / "DataFolderExampleGen"
    records = {"all": _records(folder / "catalogue", "all")}
    records |= {split: _records(folder / "interactions", split) for split in SPLITS}
    aside = sorted(
        read_quarantine(folder / "quarantine"), key=lambda row: (row["file"], row["row"])
    )
    return records, aside, read_summary(str(folder / "quarantine"))


def statistics(output: Path, lane: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """By split and feature: counts and extremes, which are exact; and means and deviations."""
    exact: dict[Any, Any] = {}
    inexact: dict[Any, Any] = {}
    for file in sorted((output / f"Statistics{lane}" / "statistics").glob("Split-*/*.pb")):
        [data] = tfdv.load_stats_binary(str(file)).datasets
        exact[file.parent.name] = data.num_examples
        for feature in data.features:
            found = getattr(feature, feature.WhichOneof("stats"))
            key, common = (file.parent.name, feature.path.step[0]), found.common_stats
            exact[key] = [common.num_non_missing, common.num_missing, common.max_num_values]
            if feature.HasField("num_stats"):
                exact[key] += [found.min, found.max, found.num_zeros]
                inexact[key] = [found.mean, found.std_dev]
            else:
                exact[key] += [found.unique]
                inexact[key] = [found.avg_length]
    return exact, inexact


def vocabularies(output: Path, lane: str) -> dict[str, list[bytes]]:
    """The lines of each file of a Transform graph, sorted."""
    graph = output / f"Transform{lane}" / "transform_graph" / "transform_fn"
    return {
        file.name: sorted(file.read_bytes().splitlines())
        for file in sorted((graph / "assets").iterdir())
    }


def transformed(output: Path) -> dict[bytes, dict[str, npt.NDArray[Any]]]:
    """The transformed catalogue: item to feature to values."""
    files = (output / "TransformCatalogue" / "transformed_examples").rglob("*.gz")
    records = tf.data.TFRecordDataset(sorted(map(str, files)), "GZIP").as_numpy_iterator()
    found: dict[bytes, dict[str, npt.NDArray[Any]]] = {}
    for record in records:
        features = tf.train.Example.FromString(record).features.feature
        item = features["item_id"].bytes_list.value[0]
        assert item not in found, item
        found[item] = {
            name: np.array(getattr(feature, feature.WhichOneof("kind") or "int64_list").value)
            for name, feature in features.items()
        }
    return found


def metrics(output: Path) -> tuple[dict[tuple[str, str, str], float], list[float]]:
    """Metrics by model and slice, flat; and the counts of predicted ratings."""
    evaluation = output / "Evaluator" / "evaluation"
    flat = {
        (model, place, metric): value
        for model, slices in read_metrics(evaluation).items()
        for place, values in slices.items()
        for metric, value in values.items()
    }
    return flat, read_rating_counts(evaluation)


def described(output: Path) -> dict[str, npt.NDArray[Any]]:
    """What the model says of the products, in their order."""
    with np.load(output / DESCRIBING / "described.npz") as columns:
        return dict(columns)


def _records(folder: Path, split: str) -> list[Json]:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = f'["{split}"]'
    return read_split([artifact], split)
