"""Runs a validator of distributions on statistics by hand, as its node does."""

from pathlib import Path

from tfx.proto import distribution_validator_pb2
from tfx.types import standard_artifacts
from tfx.types.standard_component_specs import (
    ANOMALIES_KEY,
    BASELINE_STATISTICS_KEY,
    DISTRIBUTION_VALIDATOR_CONFIG_KEY,
    STATISTICS_KEY,
)


def compare(executor, folder, feature, now, before, **properties) -> Path:
    """What it wrote of a feature whose divergence may be 0.3; without `before` nothing is there."""
    config = distribution_validator_pb2.DistributionValidatorConfig()
    entry = config.default_slice_config.feature.add()
    entry.path.step.append(feature)
    entry.distribution_comparator.jensen_shannon_divergence.threshold = 0.3
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(folder / "anomalies")
    executor.Do(
        {STATISTICS_KEY: [now], BASELINE_STATISTICS_KEY: [before] if before else []},
        {ANOMALIES_KEY: [anomalies]},
        {DISTRIBUTION_VALIDATOR_CONFIG_KEY: config, **properties},
    )
    return Path(anomalies.uri)
