"""Drift is that of the newest span, however many older ones there are."""

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.standard_component_specs import (
    EXAMPLES_KEY,
    STATISTICS_KEY,
    STATS_OPTIONS_JSON_KEY,
)

from components.accounted import StatisticsExecutor
from components.accounting import note_rows
from components.drift_validator import FEWEST, DriftExecutor
from models.errors import BadInput
from pipeline.lanes import statistics_options
from tests.components.comparing import compare
from tests.components.ingestion.helpers import IN_MEMORY
from tests.portable.protos import recorded, unportable

LIKED, DISLIKED = (0.75, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.25)
SPLITS = ("train", "eval")
PAIRS = {f"SplitPair-{split}_{split}" for split in SPLITS}
OLD = 10
ROWS = 4 * FEWEST


def span(ratings, rows=ROWS):
    return [ratings[row % len(ratings)] for row in range(rows)]


def statistics(folder, *spans):
    """What the node writes of spans from old to new, the same in each split."""
    examples, written = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    examples.uri, written.uri = str(folder / "examples"), str(folder / "statistics")
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    for split in SPLITS:
        place = Path(artifact_utils.get_split_uri([examples], split))
        place.mkdir(parents=True)
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        with tf.io.TFRecordWriter(str(place / "data.gz"), options) as writer:
            for number, ratings in enumerate(spans, 1):
                for rating in ratings:
                    writer.write(interaction(number, rating, newest=number == len(spans)))
    note_rows(examples, dict.fromkeys(SPLITS, sum(map(len, spans))))
    context = StatisticsExecutor.Context(beam_pipeline_args=IN_MEMORY, tmp_dir=str(folder / "tmp"))
    options = statistics_options("interactions", by_span=len(spans) > 1)
    StatisticsExecutor(context).Do(
        {EXAMPLES_KEY: [examples]},
        {STATISTICS_KEY: [written]},
        {STATS_OPTIONS_JSON_KEY: options.to_json()},
    )
    return written


def interaction(number, rating, *, newest):
    made = tf.train.Example()
    feature = made.features.feature
    feature["rating"].float_list.value.append(rating)
    feature["span"].int64_list.value.append(number)
    feature["span_age"].bytes_list.value.append(b"latest" if newest else b"earlier")
    return made.SerializeToString()


def drift(folder, now, before):
    """Divergence of the ratings by the splits that were compared."""
    anomalies = compare(DriftExecutor(), folder, "rating", now, before)
    found = {}
    for file in anomalies.glob("SplitPair-*/SchemaDiff.pb"):
        read = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        for info in read.drift_skew_info:
            found[file.parent.name] = info.drift_measurements[0].value
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Of the run over the old spans."""
    return statistics(tmp_path_factory.mktemp("before"), *[span(LIKED)] * OLD)


def test_a_shift_of_the_new_span_stops_the_run_after_many_old_ones(tmp_path, before):
    now = statistics(tmp_path, *[span(LIKED)] * OLD, span(DISLIKED))
    with pytest.raises(BadInput, match=r"train: rating.*gates"):
        drift(tmp_path, now, before)


def test_the_next_span_is_compared_with_the_one_before_it(tmp_path):
    spans = [span(LIKED), span(DISLIKED)]
    before = statistics(tmp_path / "before", *spans)
    now = statistics(tmp_path / "now", *spans, span(DISLIKED))
    assert drift(tmp_path, now, before) == dict.fromkeys(PAIRS, 0.0)


def test_the_same_data_again_have_not_drifted(tmp_path, before):
    assert drift(tmp_path, before, before) == dict.fromkeys(PAIRS, 0.0)


def test_the_second_span_is_compared_with_all_of_the_first_run(tmp_path):
    before = statistics(tmp_path / "before", span(LIKED))
    now = statistics(tmp_path / "now", span(LIKED), span(DISLIKED))
    with pytest.raises(BadInput, match=r"rating"):
        drift(tmp_path, now, before)


@pytest.mark.parametrize("rows", [0, FEWEST - 1])
def test_a_span_with_few_interactions_is_not_compared(tmp_path, before, rows):
    now = statistics(tmp_path, *[span(LIKED)] * OLD, span(DISLIKED, rows))
    assert drift(tmp_path, now, before) == {}


def test_without_an_earlier_run_everything_passes(tmp_path, before):
    assert drift(tmp_path, before, None) == {}


def test_statistics_by_span_are_of_what_flink_and_spark_can_run(tmp_path):
    with recorded() as protos:
        statistics(tmp_path, span(LIKED), span(DISLIKED))
    assert protos and not [fault for proto in protos for fault in unportable(proto)]
