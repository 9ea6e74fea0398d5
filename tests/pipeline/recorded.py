"""A root as runs leave it, written by hand: metadata, the artifacts that are read, versions."""

from pathlib import Path

import tensorflow as tf
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.ingestion.summary import IngestionSummary, write_summary
from models import metrics
from pipeline.config import load_configuration
from pipeline.evaluation import evaluation_config
from pipeline.layout import artifacts_folder, metadata_file, serving_folder
from serving.version_labels import STABLE, read_labels, write_labels

ERROR = "squared_error"


class RecordedRoot:
    """A root that runs are added to; each pushes a version, the first one 1."""

    def __init__(self, root: Path, *, versions: int = 0) -> None:
        self._root = root
        self._config = load_configuration()
        self._versions = versions

    def run(
        self, *, error: float = 0.25, ratings: tuple[float, ...] = (), divergence: float = 0.0,
        answers: bool = True, withdrawn: str = "", ends: bool = True, is_cached: bool = False,
        label: str = STABLE,
    ) -> str:  # fmt: skip
        """Record a run that pushed the next version.

        Args:
            error: of the candidate over all items.
            ratings: counts by bin of the predicted ones.
            divergence: of the price, from the run before.
            answers: False where InfraValidator refused the model.
            withdrawn: why the model was not pushed; empty where it was.
            ends: False where the run came no further than to Evaluator.
            is_cached: whether the push was taken from an earlier run.
            label: of the version.

        Returns:
            Its id.
        """
        self._versions += 1
        name = f"run-{self._versions}"
        version = serving_folder(self._root) / str(self._versions)
        self._root.mkdir(parents=True, exist_ok=True)
        config = metadata.sqlite_metadata_connection_config(str(metadata_file(self._root)))
        with metadata.Metadata(config) as handle:
            context = context_lib.register_context_if_not_exists(handle, "pipeline_run", name)

            def record(node, outputs, inputs=None, state=mlmd.Execution.COMPLETE, **parameters):
                execution = execution_lib.prepare_execution(
                    handle, mlmd.ExecutionType(name=node), state=state, exec_properties=parameters
                )
                execution_lib.put_execution(handle, execution, [context], inputs or {}, outputs)

            quarantine = self._placed(Quarantine(), "DataFolderExampleGen/quarantine")
            write_summary(quarantine.uri, _summary())
            record(
                "DataFolderExampleGen", {"quarantine": [quarantine]},
                options=self._config.data.options().model_dump_json(),
            )  # fmt: skip
            anomalies = self._placed(
                standard_artifacts.ExampleAnomalies(), "DriftValidatorCatalogue/anomalies"
            )
            _write_drift(Path(anomalies.uri), divergence)
            record("DriftValidatorCatalogue", {"anomalies": [anomalies]})
            model = standard_artifacts.Model()
            record("TwoTowerTrainer", {"model": [model]})
            blessing = standard_artifacts.ModelBlessing()
            blessing.set_int_custom_property("blessed", 1)
            blessing.set_int_custom_property("current_model_id", model.id)
            evaluation = self._placed(standard_artifacts.ModelEvaluation(), "Evaluator/evaluation")
            _write_evaluation(Path(evaluation.uri), error, ratings)
            gates = evaluation_config(self._config.gates.model, by_span=False)
            record(
                "Evaluator", {"blessing": [blessing], "evaluation": [evaluation]},
                eval_config=json_format.MessageToJson(gates),
            )  # fmt: skip
            if not ends:
                return name
            infra = standard_artifacts.InfraBlessing()
            infra.set_int_custom_property("blessed", int(answers))
            record("EmbeddedInfraValidator", {"blessing": [infra]})
            pushed = standard_artifacts.PushedModel()
            is_pushed = answers and not withdrawn
            pushed.set_int_custom_property("pushed", int(is_pushed))
            pushed.set_string_custom_property("withdrawn", withdrawn)
            if is_pushed:
                pushed.set_string_custom_property("pushed_version", version.name)
                pushed.set_string_custom_property("pushed_destination", str(version))
                pushed.set_string_custom_property("label", label)
            record(
                "AtomicPusher", {"pushed_model": [pushed]}, {"model_blessing": [blessing]},
                state=mlmd.Execution.CACHED if is_cached else mlmd.Execution.COMPLETE,
            )  # fmt: skip
        if is_pushed:
            version.mkdir(parents=True)
            others = {} if label == STABLE else read_labels(version.parent)
            write_labels(version.parent, {**others, label: self._versions})
        return name

    def _placed(self, artifact, place):
        folder = artifacts_folder(self._root) / place / str(self._versions)
        folder.mkdir(parents=True)
        artifact.uri = str(folder)
        return artifact


def _summary() -> IngestionSummary:
    return IngestionSummary(
        files=(), splits={"train": 10, "eval": 2, "new_items": 2}, is_implicit=False,
        rating_min=1, rating_max=5, users=4, items=6, new_products=1, held_out_items=1,
    )  # fmt: skip


def _write_evaluation(folder: Path, error: float, ratings: tuple[float, ...]) -> None:
    found = metrics_for_slice_pb2.MetricsForSlice()
    value = found.metric_keys_and_values.add()
    value.key.name = ERROR
    value.value.double_value.value = error
    counts = found.metric_keys_and_values.add()
    counts.key.name = metrics.RATING_COUNTS
    counts.value.array_value.float64_values.extend(ratings)
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        writer.write(found.SerializeToString())


def _write_drift(folder: Path, divergence: float) -> None:
    anomalies = anomalies_pb2.Anomalies()
    info = anomalies.drift_skew_info.add()
    info.path.step.append("price")
    info.drift_measurements.add(value=divergence, threshold=0.25)
    split = folder / "SplitPair-all_all"
    split.mkdir()
    (split / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
