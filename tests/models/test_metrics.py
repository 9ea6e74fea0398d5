import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from models import metrics
from pipeline.beam_profiles import PROFILES

ROWS, ITEMS = 240, 37
KS = (1, 5, 20, 500)  # one of them longer than the catalogue
ANALYSED_KS = (5, 500)
IN_MEMORY = list(PROFILES["direct"])


def candidates(*, ties):
    """Scores of all items and the true one; a few score levels where there are ties."""
    random = np.random.default_rng(5)
    scores = random.integers(0, 6, (ROWS, ITEMS)) if ties else random.random((ROWS, ITEMS))
    return scores.astype(float), random.integers(0, ITEMS, ROWS)


def ranks_of(scores, true):
    """1 + how many other items score at least as much: ties stand ahead of the true item."""
    return (scores >= scores[np.arange(ROWS), true][:, None]).sum(axis=1)


@pytest.mark.parametrize("k", KS)
def test_gains_agree_with_scikit_learn(k):
    scores, true = candidates(ties=False)
    relevant = np.eye(ITEMS)[true]
    ranks = ranks_of(scores, true)
    recall = np.mean([metrics.recall(rank, k) for rank in ranks])
    ndcg = np.mean([metrics.ndcg(rank, k) for rank in ranks])
    assert ndcg == pytest.approx(ndcg_score(relevant, scores, k=k, ignore_ties=True))
    hits = top_k_accuracy_score(true, scores, k=min(k, ITEMS - 1), labels=np.arange(ITEMS))
    assert recall == pytest.approx(1.0 if k >= ITEMS else hits)


@pytest.mark.parametrize("ties", [False, True])
def test_the_reciprocal_rank_of_the_whole_list_agrees_with_scikit_learn(ties):
    scores, true = candidates(ties=ties)
    mrr = np.mean([metrics.reciprocal_rank(rank, ITEMS) for rank in ranks_of(scores, true)])
    # With one relevant item and ties at their worst place, that is what this score is.
    expected = label_ranking_average_precision_score(np.eye(ITEMS)[true], scores)
    assert mrr == pytest.approx(expected)


@pytest.mark.parametrize("gain", [metrics.recall, metrics.ndcg, metrics.reciprocal_rank])
def test_a_gain_is_1_at_the_top_counts_the_kth_place_and_is_0_below_it(gain):
    assert gain(1.0, 10) == 1.0
    assert gain(10.0, 10) > 0.0
    assert gain(11.0, 10) == 0.0


class Answers(tf.Module):
    """Stands for a served model: its `evaluate` answers what the example holds."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def evaluate(self, examples):
        spec = {
            name: tf.io.FixedLenFeature([], tf.float32)
            for name in (metrics.RANK, metrics.COLD_RANK, metrics.SQUARED_ERROR)
        }
        return tf.io.parse_example(examples, spec)


def write_examples(file, columns, states):
    with tf.io.TFRecordWriter(str(file)) as writer:
        for place, state in enumerate(states):
            example = tf.train.Example()
            for name, column in columns.items():
                example.features.feature[name].float_list.value.append(column[place])
            example.features.feature["item_state"].bytes_list.value.append(state)
            writer.write(example.SerializeToString())


def analysed(folder, columns, states):
    """Metric values by slice, through TFMA itself."""
    model = Answers()
    tf.saved_model.save(model, str(folder / "model"), signatures={"evaluate": model.evaluate})
    write_examples(folder / "examples", columns, states)
    wanted = [
        metrics.RankingMetric(
            gain=gain, k=k, cold=cold, name=f"{'cold_' if cold else ''}{gain}_at_{k}"
        )
        for gain in ("recall", "ndcg", "mrr")
        for k in ANALYSED_KS
        for cold in (False, True)
    ]
    config = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="evaluate", model_type="tf_generic")],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=["item_state"])],
        metrics_specs=tfma.metrics.specs_from_metrics([*wanted, metrics.SquaredError()]),
    )
    result = tfma.run_model_analysis(
        eval_config=config,
        eval_shared_model=tfma.default_eval_shared_model(
            str(folder / "model"), eval_config=config, tags=["serve"]
        ),
        data_location=str(folder / "examples"),
        output_path=str(folder / "analysis"),
        pipeline_options=beam.options.pipeline_options.PipelineOptions(IN_MEMORY),
    )
    return {
        (key[0][1] if key else "overall"): {
            name: value["doubleValue"] for name, value in found[""][""].items()
        }
        for key, found in result.slicing_metrics
    }


def test_evaluator_averages_the_gains_over_the_rows_of_a_slice(tmp_path):
    scores, true = candidates(ties=True)
    random = np.random.default_rng(0)
    columns = {
        metrics.RANK: ranks_of(scores, true),
        metrics.COLD_RANK: random.integers(1, 9, ROWS),
        metrics.SQUARED_ERROR: random.random(ROWS).astype(np.float32),
    }
    states = np.where(random.random(ROWS) < 0.3, b"new", b"seen").tolist()
    found = analysed(tmp_path, columns, states)
    assert set(found) == {"overall", "new", "seen"}
    for name, values in found.items():
        rows = [i for i, state in enumerate(states) if name in ("overall", state.decode())]
        for cold, column in (("", metrics.RANK), ("cold_", metrics.COLD_RANK)):
            rank = columns[column][rows].astype(float)
            for k in ANALYSED_KS:
                within = rank <= k
                expected = {
                    "recall": within,
                    "ndcg": within / np.log2(rank + 1),
                    "mrr": within / rank,
                }
                for gain, gains in expected.items():
                    assert values[f"{cold}{gain}_at_{k}"] == pytest.approx(gains.mean()), gain
        error = columns[metrics.SQUARED_ERROR][rows].mean()
        assert values[metrics.SQUARED_ERROR] == pytest.approx(error, 1e-5)


def test_a_slice_without_rows_has_no_value():
    [computation] = metrics.SquaredError().computations()
    empty = computation.combiner.merge_accumulators([computation.combiner.create_accumulator()])
    [value] = computation.combiner.extract_output(empty).values()
    assert math.isnan(value)
