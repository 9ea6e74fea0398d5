"""Gates by span, decided by TFMA itself on a candidate and a baseline with given ranks."""

import subprocess
import sys

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format

from models import metrics
from models.errors import BadInput
from pipeline.beam_profiles import PROFILES
from pipeline.config import Gate, load_configuration
from pipeline.evaluation import (
    GROUP_SLICES,
    SLICES,
    SPAN_SLICES,
    applicable_gates,
    check_gates,
    evaluation_config,
    read_metrics,
    read_rating_counts,
    recorded_gates,
    says_something,
    slice_name,
    span_slice,
)

IN_MEMORY = list(PROFILES["direct"])
MODELS = ("candidate", "baseline")
HIT, MISS = 1.0, 100.0
# Span, age, state, and whether each model finds the item, of ten interactions each.
OLD, NOW = (1, b"earlier", b"seen"), (2, b"latest", b"seen")
OLD_NEW, NOW_NEW = (1, b"earlier", b"new"), (2, b"latest", b"new")


def gate(slice_, tolerance=0.1, metric="recall_at_20"):
    return Gate(metric=metric, slice=slice_, direction="higher", bound=0.0, tolerance=tolerance)


class Answers(tf.Module):
    """A model whose answers stand in the Examples, under its own name."""

    def __init__(self, name):
        super().__init__()
        self._prefix = name

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def evaluate(self, examples):
        rank = tf.io.parse_example(examples, {self._prefix: tf.io.FixedLenFeature([], tf.float32)})[
            self._prefix
        ]
        return {
            metrics.RANK: rank, metrics.COLD_RANK: rank,
            metrics.RATING: 0.0 * rank, metrics.SQUARED_ERROR: 0.0 * rank,
        }  # fmt: skip


def write_examples(file, hits):
    """Ten interactions of each kind, of which a model finds so many."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for (span, age, state), found in hits.items():
            for place in range(10):
                example = tf.train.Example()
                feature = example.features.feature
                feature["span"].int64_list.value.append(span)
                feature["span_age"].bytes_list.value.append(age)
                feature["item_state"].bytes_list.value.append(state)
                for name, count in zip(MODELS, found, strict=True):
                    feature[name].float_list.value.append(HIT if place < count else MISS)
                writer.write(example.SerializeToString())


def evaluated(folder, hits, gates, *, by_span=True):
    """Whether TFMA lets the candidate pass, the slices that failed, and recall by slice."""
    write_examples(folder / "examples", hits)
    config = evaluation_config(gates, by_span=by_span)
    (spec,) = config.model_specs
    del config.model_specs[:]
    for name in MODELS:
        model = Answers(name)
        tf.saved_model.save(model, str(folder / name), signatures={"evaluate": model.evaluate})
        config.model_specs.add().CopyFrom(spec)
        config.model_specs[-1].name = name
        config.model_specs[-1].is_baseline = name == "baseline"
    result = tfma.run_model_analysis(
        eval_config=config,
        eval_shared_model=[
            tfma.default_eval_shared_model(
                str(folder / name), eval_config=config, tags=["serve"], model_name=name
            )
            for name in MODELS
        ],
        data_location=str(folder / "examples"),
        output_path=str(folder / "analysis"),
        pipeline_options=beam.options.pipeline_options.PipelineOptions(IN_MEMORY),
    )  # fmt: skip
    decided = tfma.load_validation_result(str(folder / "analysis"))
    failed = {
        slice_name(
            {
                key.column: key.int64_value or key.bytes_value.decode()
                for key in failure.slice_key.single_slice_keys
            }
        )
        for failure in decided.metric_validations_per_slice
    }
    (of_candidate, *_) = result.get_results()
    recall = {
        slice_name(dict(key)): found[""][""]["recall_at_20"]["doubleValue"]
        for key, found in of_candidate.slicing_metrics
    }
    return decided.validation_ok, failed, recall


def test_a_model_that_forgets_is_refused_though_it_gains_more_than_it_loses(tmp_path):
    hits = {OLD: (5, 8), OLD_NEW: (6, 6), NOW: (9, 1), NOW_NEW: (4, 0)}
    gates = [gate("overall"), gate("earlier"), gate("latest"), gate("earlier_new")]
    passed, failed, recall = evaluated(tmp_path, hits, gates)
    assert not passed
    assert failed == {"earlier"}
    assert recall == pytest.approx(
        {
            "overall": 0.6, "seen": 0.7, "new": 0.5, "earlier": 0.55, "latest": 0.65,
            "earlier_new": 0.6, "latest_new": 0.4, "span 1": 0.55, "span 2": 0.65,
            "span 1, new": 0.6, "span 2, new": 0.4,
        }
    )  # fmt: skip
    read = read_metrics(tmp_path / "analysis")["candidate"]
    assert {name: values["recall_at_20"] for name, values in read.items()} == recall
    assert list(read) == [
        *SLICES, *SPAN_SLICES, "span 1", "span 2", "span 1, new", "span 2, new"
    ]  # fmt: skip


def test_a_loss_within_the_tolerance_passes(tmp_path):
    hits = {OLD: (7, 8), OLD_NEW: (6, 6), NOW: (9, 1), NOW_NEW: (4, 0)}
    gates = [gate(name) for name in (*SLICES, *SPAN_SLICES)]
    passed, failed, _ = evaluated(tmp_path, hits, gates)
    assert (passed, failed) == (True, set())


def test_without_held_out_interactions_the_gates_refuse_a_candidate_that_has_no_metrics(tmp_path):
    passed, _, recall = evaluated(tmp_path, {}, [gate("overall")])
    assert (passed, recall) == (False, {})
    assert read_metrics(tmp_path / "analysis") == {"candidate": {}}


def test_ratings_are_counted_of_the_newest_span_where_there_are_several(tmp_path):
    hits = {OLD: (5, 5), OLD_NEW: (5, 5), NOW: (5, 5)}
    evaluated(tmp_path, hits, [])
    assert sum(read_rating_counts(tmp_path / "analysis")) == 10


def test_without_an_earlier_span_only_the_other_gates_are_asked(tmp_path):
    hits = {(0, b"latest", b"seen"): (8, 8), (0, b"latest", b"new"): (5, 5)}
    gates = [gate(name) for name in (*SLICES, *SPAN_SLICES)]
    passed, failed, recall = evaluated(tmp_path, hits, gates, by_span=False)
    assert (passed, failed) == (True, set())
    assert set(recall) == set(SLICES)
    assert sum(read_rating_counts(tmp_path / "analysis")) == 20
    assert [one.slice for one in applicable_gates(gates, by_span=False)] == list(SLICES)


def test_a_metric_among_cold_items_says_something_of_new_items_alone():
    every = [*SLICES, *SPAN_SLICES, *GROUP_SLICES]
    every += [span_slice(3, is_new=is_new) for is_new in (False, True)]
    assert {name for name in every if says_something("cold_recall_at_20", name)} == {
        "new", "earlier_new", "latest_new", "new_for_unknown_users", "new_for_light_users",
        "new_for_heavy_users", "new_niche_items", "new_middle_items", "new_popular_items",
        "span 3, new",
    }  # fmt: skip
    assert all(says_something("recall_at_20", name) for name in every)


def test_a_gate_on_an_unknown_metric_is_named():
    with pytest.raises(BadInput, match="recall_at_21"):
        check_gates([gate("overall", metric="recall_at_21")], by_span=False)


def test_a_gate_on_a_metric_that_says_nothing_of_its_slice_is_refused():
    with pytest.raises(BadInput, match=r"cold_recall_at_20 .* slice seen, .* or recall_at_20\."):
        check_gates([gate("seen", metric="cold_recall_at_20")], by_span=False)


@pytest.mark.parametrize("as_in_proto", [True, False])
@pytest.mark.parametrize("by_span", [True, False])
def test_gates_are_read_back_from_what_ml_metadata_notes_of_them(by_span, as_in_proto):
    gates = load_configuration().gates.model
    config = evaluation_config(gates, by_span=by_span)
    noted = json_format.MessageToJson(config, preserving_proto_field_name=as_in_proto)
    read = recorded_gates(noted)
    kept = applicable_gates(gates, by_span=by_span)
    assert len(read) == len(kept) and set(read) == set(kept)
    assert by_span == any(gate.slice == "latest_new" for gate in read)


def test_a_process_that_only_runs_evaluator_knows_every_metric():
    shown = subprocess.run(
        [
            sys.executable, "-c",
            "import components.accounted\n"
            "from tensorflow_model_analysis.metrics.metric_types import registered_metrics\n"
            "print(*registered_metrics())",
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    config = evaluation_config([], by_span=True)
    used = {metric.class_name for spec in config.metrics_specs for metric in spec.metrics}
    assert used <= set(shown.stdout.split())
