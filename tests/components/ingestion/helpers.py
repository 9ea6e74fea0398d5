"""Runs a whole ingestion on a small folder, and reads what it wrote back into plain Python."""

import csv
import functools
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_data_validation as tfdv
import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import artifact_utils, standard_artifacts

import pipeline
from components.artifacts import Quarantine
from components.ingestion.executor import Executor
from components.ingestion.options import DataOptions
from components.ingestion.summary import IngestionSummary, read_summary
from pipeline.beam_profiles import PROFILES

SPLITS = ("train", "eval", "new_items")
IN_MEMORY = list(PROFILES["direct"])


@functools.cache
def default_data_section() -> dict[str, Any]:
    path = Path(next(iter(pipeline.__path__))) / "default.yaml"
    return dict(yaml.safe_load(path.read_text())["data"])


def data_options(**overrides: Any) -> DataOptions:
    """The defaults, but nothing held out and no limit on quarantine unless a test says so."""
    values = {**default_data_section()}
    del values["path"]
    values |= {"new_item_share": 0.0, "eval_user_share": 0.0, "max_quarantined_share": 1.0}
    return DataOptions(**(values | overrides))


def write_csv(path: Path, columns: str, *rows: tuple[Any, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns.split(","), *rows])
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_shop(folder: Path) -> Path:
    """A valid folder: users ann and bob, items a, b and c."""
    write_csv(
        folder / "interactions.csv",
        "user_id,item_id,timestamp",
        *[("ann", "a", 10), ("ann", "b", 20), ("ann", "c", 30), ("bob", "a", 15), ("bob", "c", 25)],
    )
    write_csv(folder / "items.csv", "item_id,title", ("a", "Apple"), ("b", "Bread"), ("c", "Cup"))
    return folder


@dataclass(frozen=True)
class Ingested:
    catalogue: dict[str, dict[str, Any]]  # by item id
    splits: dict[str, list[dict[str, Any]]]  # sorted by user, time, item
    quarantine: list[dict[str, Any]]
    summary: IngestionSummary
    root: Path

    @property
    def interactions(self) -> list[dict[str, Any]]:
        return [row for split in SPLITS for row in self.splits[split]]

    def row(self, user: str, item: str) -> dict[str, Any]:
        (found,) = (r for r in self.interactions if r["user_id"] == user and r["item_id"] == item)
        return found

    def set_aside(self, file: str) -> list[tuple[int, str, str]]:
        """(row, reason, column) of a file's rows."""
        rows = [row for row in self.quarantine if row["file"] == file]
        return sorted((row["row"], row["reason"], row["column"]) for row in rows)


def ingest(folder: Path, root: Path, **overrides: Any) -> Ingested:
    """Runs the executor on `folder`; its artifacts lie below `root`."""
    outputs = {
        "catalogue": [standard_artifacts.Examples()],
        "interactions": [standard_artifacts.Examples()],
        "quarantine": [Quarantine()],
    }
    for name, (artifact,) in outputs.items():
        artifact.uri = str(root / name)
        Path(artifact.uri).mkdir(parents=True)
    executor = Executor(Executor.Context(beam_pipeline_args=IN_MEMORY, tmp_dir=str(root / "tmp")))
    options = data_options(**overrides).model_dump_json()
    executor.Do({}, outputs, {"data": str(folder), "options": options, "fingerprint": ""})
    return Ingested(
        {row["item_id"]: row for row in read_split(outputs["catalogue"], "all")},
        {split: read_split(outputs["interactions"], split) for split in SPLITS},
        read_quarantine(root / "quarantine"),
        read_summary(outputs["quarantine"][0].uri),
        root,
    )


def read_split(artifacts: list[Any], split: str) -> list[dict[str, Any]]:
    pattern = f"{artifact_utils.get_split_uri(artifacts, split)}/*.gz"
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), "GZIP").as_numpy_iterator()
    rows = [decode(record) for record in records]
    return sorted(rows, key=lambda r: (r.get("user_id"), r.get("timestamp"), r["item_id"]))


def decode(record: bytes) -> dict[str, Any]:
    """Lists for histories, None for what is absent, the single value for the rest."""
    row: dict[str, Any] = {}
    for name, feature in tf.train.Example.FromString(record).features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        values = [v.decode() if isinstance(v, bytes) else v for v in values]
        row[name] = values if name.startswith("history") else values[0] if values else None
    return row


def anomalies(folder: Path, schema: str) -> list[str]:
    """Features of a split's Examples that don't fit a curated schema."""
    found = tfdv.generate_statistics_from_tfrecord(
        f"{folder}/*.gz", pipeline_options=PipelineOptions(IN_MEMORY)
    )
    path = Path(next(iter(pipeline.__path__))) / "schema" / f"{schema}.pbtxt"
    curated = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return sorted(tfdv.validate_statistics(found, curated).anomaly_info)


def read_quarantine(folder: Path) -> list[dict[str, Any]]:
    lines = [
        line
        for path in folder.glob("rows-*.jsonl.gz")
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    return [json.loads(line) for line in lines]
