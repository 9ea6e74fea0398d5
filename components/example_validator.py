"""An ExampleValidator that stops the run: the stock one only writes its findings down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components import ExampleValidator
from tfx.components.distribution_validator import executor as distribution_executor
from tfx.components.example_validator import executor as example_executor
from tfx.components.statistics_gen.stats_artifact_utils import load_statistics
from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.io import fileio
from tfx.proto import distribution_validator_pb2
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils, json_utils, proto_utils

from components.artifacts import Artifacts
from models.errors import BadInput

Comparable = Callable[[str], bool]

_CONFIG: Final = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY


class _StopOnAnomalies:
    """Mixed into a stock executor: runs it, then refuses where it found something."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> execution_result_pb2.ExecutorOutput | None:
        result: execution_result_pb2.ExecutorOutput | None = super().Do(  # type: ignore[misc]
            input_dict, output_dict, exec_properties
        )
        anomalies = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        comparable = self._comparable(input_dict)
        found = [line for file in _anomaly_files(anomalies) for line in _findings(file, comparable)]
        if found:
            raise BadInput(
                f"The data does not fit the schema: {'; '.join(found)}. "
                "Correct the data, or, where the shop has really changed, the thresholds under "
                "`gates` in the configuration or the schema in pipeline/schema."
            )
        return result

    def _comparable(self, input_dict: Artifacts) -> Comparable:
        """Which features must be compared: all that are looked at."""
        return lambda feature: True


class StrictExampleExecutor(_StopOnAnomalies, example_executor.Executor):
    """Executor of `StrictExampleValidator`."""


class StrictDistributionExecutor(_StopOnAnomalies, distribution_executor.Executor):
    """Executor of `StrictDistributionValidator`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> execution_result_pb2.ExecutorOutput | None:
        """Run the stock executor, which wants a proto where Kubeflow has its JSON text."""
        config = exec_properties[_CONFIG]
        if isinstance(config, str):
            parsed = distribution_validator_pb2.DistributionValidatorConfig()
            exec_properties[_CONFIG] = proto_utils.json_to_proto(config, parsed)
        return super().Do(input_dict, output_dict, exec_properties)

    def _comparable(self, input_dict: Artifacts) -> Comparable:
        """Only what the baseline has and the data has lost.

        The stock executor reports each configured feature that it could not compare, also one
        that a shop never had, such as a price.
        """
        lost = _present(input_dict[standard_component_specs.BASELINE_STATISTICS_KEY]) - _present(
            input_dict[standard_component_specs.STATISTICS_KEY]
        )
        return lost.__contains__


class StrictExampleValidator(ExampleValidator):
    """Statistics against the curated schema; an anomaly ends the run."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StrictExampleExecutor)


class StrictDistributionValidatorSpec(standard_component_specs.DistributionValidatorSpec):
    """The stock spec; the executor copes without a baseline, so its input is optional here."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        **standard_component_specs.DistributionValidatorSpec.INPUTS,
        standard_component_specs.BASELINE_STATISTICS_KEY: ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }


class StrictDistributionValidator(base_component.BaseComponent):
    """Statistics against other statistics (drift, skew); an anomaly ends the run.

    Without a baseline, as on a first run, everything passes.
    """

    SPEC_CLASS = StrictDistributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StrictDistributionExecutor)

    def __init__(
        self,
        *,
        statistics: types.BaseChannel,
        baseline_statistics: types.BaseChannel,
        config: distribution_validator_pb2.DistributionValidatorConfig,
        include_split_pairs: list[tuple[str, str]] | None = None,
    ) -> None:
        """Construct the component; the arguments are those of `DistributionValidator`."""
        super().__init__(
            StrictDistributionValidatorSpec(
                statistics=statistics,
                baseline_statistics=baseline_statistics,
                distribution_validator_config=config,
                include_split_pairs=json_utils.dumps(include_split_pairs),
                anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )


def _anomaly_files(anomalies: types.Artifact) -> list[str]:
    return sorted(
        f"{folder}/{file}"
        for folder, _, files in fileio.walk(anomalies.uri)
        for file in files
        if file.endswith(".pb")
    )


def _present(statistics: list[types.Artifact]) -> set[str]:
    """Features with a value in any split."""
    return {
        feature.path.step[0]
        for artifact in statistics
        for split in artifact_utils.decode_split_names(artifact.split_names)
        for data_set in load_statistics(artifact, split).proto().datasets
        for feature in data_set.features
        if _values(feature)
    }


def _values(feature: statistics_pb2.FeatureNameStatistics) -> int:
    """How many examples have a value; each type keeps its count in a field of its own."""
    stats = getattr(feature, feature.WhichOneof("stats"))
    count: int = stats.common_stats.num_non_missing
    return count


def _findings(file: str, comparable: Comparable) -> list[str]:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.ParseFromString(io_utils.read_bytes_file(file))
    split = file.split("/")[-2].removeprefix("SplitPair-").removeprefix("Split-")
    findings = [
        f"{split}: {feature}: {reason.short_description} ({reason.description})"
        for feature, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
        if reason.type != anomalies_pb2.AnomalyInfo.STATS_NOT_AVAILABLE or comparable(feature)
    ]
    findings += [
        f"{split}: whole data set: {reason.short_description} ({reason.description})"
        for reason in anomalies.dataset_anomaly_info.reason
    ]
    return findings
