"""TFX's Beam components with row accounting: the node fails where its runner lost rows.

Each runs the stock executor and then compares what it wrote with the rows that ingestion noted.
"""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from tfx.components import Evaluator, StatisticsGen, Transform
from tfx.components.evaluator import executor as evaluator_executor
from tfx.components.statistics_gen import executor as statistics_executor
from tfx.components.statistics_gen.stats_artifact_utils import load_statistics
from tfx.components.transform import executor as transform_executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils

# TFMA knows a metric by the name that its module has registered in this process, which may be that
# of a container that runs nothing but Evaluator.
import models.debiasing.metrics
import models.exposure.metrics  # noqa: F401
from components.accounting import check_rows, noted_rows
from components.artifacts import Artifacts
from models.garbage import seldom_collected
from models.metrics import EXAMPLE_COUNT

Counted = tuple[list[str], int]  # splits, and the rows of them together that a stage has seen

_BATCH: Final = 4096


class _Accounted:
    """Mixed into a stock executor: runs it, then counts."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> execution_result_pb2.ExecutorOutput | None:
        with seldom_collected():
            result: execution_result_pb2.ExecutorOutput | None = super().Do(  # type: ignore[misc]
                input_dict, output_dict, exec_properties
            )
        examples = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        if (noted := noted_rows(examples)) is not None:
            for splits, found in self._counted(output_dict, exec_properties):
                check_rows(
                    type(self).__name__.removesuffix("Executor"),
                    f"rows of {' and '.join(splits)}",
                    expected=sum(noted[split] for split in splits),
                    found=found,
                )
        return result

    def _counted(self, output_dict: Artifacts, exec_properties: dict[str, Any]) -> list[Counted]:
        """What the stage has seen, from what it wrote."""
        raise NotImplementedError


class StatisticsExecutor(_Accounted, statistics_executor.Executor):
    """Executor of `AccountedStatisticsGen`."""

    def _counted(self, output_dict: Artifacts, exec_properties: dict[str, Any]) -> list[Counted]:
        statistics = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.STATISTICS_KEY]
        )
        return [
            ([split], _all_rows(load_statistics(statistics, split)))
            for split in artifact_utils.decode_split_names(statistics.split_names)
        ]


class TransformExecutor(_Accounted, transform_executor.Executor):
    """Executor of `AccountedTransform`."""

    def _counted(self, output_dict: Artifacts, exec_properties: dict[str, Any]) -> list[Counted]:
        return [
            ([split], _records(artifact_utils.get_split_uri([examples], split)))
            # None where nothing is to be written.
            for examples in output_dict.get(standard_component_specs.TRANSFORMED_EXAMPLES_KEY, ())
            for split in artifact_utils.decode_split_names(examples.split_names)
        ]


class EvaluatorExecutor(_Accounted, evaluator_executor.Executor):
    """Executor of `AccountedEvaluator`."""

    def _counted(self, output_dict: Artifacts, exec_properties: dict[str, Any]) -> list[Counted]:
        splits = json_utils.loads(exec_properties[standard_component_specs.EXAMPLE_SPLITS_KEY])
        evaluation = artifact_utils.get_single_uri(
            output_dict[standard_component_specs.EVALUATION_KEY]
        )
        # Of the candidate and of the baseline; none where no row was evaluated.
        counts = [
            round(entry.value.double_value.value)
            for slice_metrics in tfma.load_metrics(evaluation)
            if not slice_metrics.slice_key.single_slice_keys
            for entry in slice_metrics.metric_keys_and_values
            if entry.key.name == EXAMPLE_COUNT and not entry.key.is_diff
        ]
        return [(splits, found) for found in counts or [0]]


class AccountedStatisticsGen(StatisticsGen):
    """Every row is in the statistics, or the node fails."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(StatisticsExecutor)


class AccountedTransform(Transform):
    """Every row is in the transformed Examples, or the node fails."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(TransformExecutor)


class AccountedEvaluator(Evaluator):
    """Every row is evaluated, or the node fails."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EvaluatorExecutor)


def _all_rows(statistics: tfdv.DatasetListView) -> int:
    """How many rows were counted, each once where they are told apart too."""
    return int(statistics.get_default_slice_or_die().proto().num_examples)


def _records(folder: str) -> int:
    """How many records its files hold; they are gone through, not held."""
    files = sorted(fileio.glob(io_utils.all_files_pattern(folder)))
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH)
    return int(batches.reduce(tf.constant(0, tf.int64), lambda n, b: n + tf.size(b, tf.int64)))
