"""A validator of the newest span against the one that was the newest in an earlier run.

Over all spans together a change hides: of eleven spans alike in size, the last one is a part in
eleven. StatisticsGen tells the rows of the newest span apart where the data has several.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME
from tfx.components.statistics_gen.stats_artifact_utils import load_statistics
from tfx.dsl.components.base import executor_spec
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.public.proto import slicing_spec_pb2

from components.artifacts import Artifacts
from components.example_validator import StrictDistributionExecutor, StrictDistributionValidator
from models import features

# TFDV slices by values of integers only; by those of bytes it finds nothing.
BY_SPAN_AGE: Final = slicing_spec_pb2.SlicingConfig(
    slicing_specs=[slicing_spec_pb2.SlicingSpec(feature_keys=[features.SPAN_AGE])]
)
# Of fewer rows too much is chance: with five ratings as likely each, the divergence of 50 rows from
# 50 others is 0.03, that of 10 from 10 others 0.18.
FEWEST: Final = 50
_NEWEST: Final = f"{features.SPAN_AGE}_{features.LATEST.decode()}"


class DriftExecutor(StrictDistributionExecutor):
    """Executor of `DriftValidator`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> execution_result_pb2.ExecutorOutput | None:
        """Run the stock executor on the statistics of the newest spans alone."""
        with TemporaryDirectory() as folder:
            newest = _of_newest_spans(input_dict, Path(folder))
            return super().Do(newest, output_dict, exec_properties)


class DriftValidator(StrictDistributionValidator):
    """Statistics against those of an earlier run; an anomaly ends the run.

    Where statistics are told apart by `BY_SPAN_AGE`, those of the newest span are compared, of the
    splits in which it has at least `FEWEST` rows. Others are compared as they are.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DriftExecutor)


def _of_newest_spans(inputs: Artifacts, folder: Path) -> Artifacts:
    """Artifacts below a folder, with empty statistics of the splits that can't be compared."""
    found = {
        (key, split): load_statistics(artifact, split)
        for key, artifacts in inputs.items()
        for artifact in artifacts
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }
    few = {split for (_, split), kept in found.items() if _has_few(kept)}
    narrowed: Artifacts = {key: [] for key in inputs}
    for key, artifacts in inputs.items():
        for artifact in artifacts:
            made = type(artifact)()
            made.copy_from(artifact)
            made.uri = str(folder / key)
            narrowed[key].append(made)
    for (key, split), kept in found.items():
        data = statistics_pb2.DatasetFeatureStatistics() if split in few else _newest(kept)
        io_utils.write_bytes_file(
            str(Path(artifact_utils.get_split_uri(narrowed[key], split)) / DEFAULT_FILE_NAME),
            statistics_pb2.DatasetFeatureStatisticsList(datasets=[data]).SerializeToString(),
        )
    return narrowed


def _has_few(statistics: tfdv.DatasetListView) -> bool:
    return _is_told_apart(statistics) and _newest(statistics).num_examples < FEWEST


def _newest(statistics: tfdv.DatasetListView) -> statistics_pb2.DatasetFeatureStatistics:
    if not _is_told_apart(statistics):
        return statistics.get_default_slice_or_die().proto()
    newest = statistics.get_slice(_NEWEST)
    return newest.proto() if newest else statistics_pb2.DatasetFeatureStatistics()


def _is_told_apart(statistics: tfdv.DatasetListView) -> bool:
    return len(statistics.list_slices()) > 1
