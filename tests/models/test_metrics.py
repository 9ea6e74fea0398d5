import math
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score
from tensorflow_model_analysis.metrics.metric_types import StandardMetricInputs

from models import metrics
from models.debiasing.metrics import ASKED, BUYERS, ESTIMATORS, EvenRecall
from models.exposure.measures import coverage, exposures, gini
from models.exposure.metrics import (
    CANDIDATES,
    COLD_CANDIDATES,
    COLD_LISTED,
    COVERAGE,
    GINI,
    LISTED,
    NEW_SHARE,
    ExposureMetric,
)
from models.interactions import PAD
from pipeline.beam_profiles import PROFILES

ROWS, ITEMS = 240, 37
COLD, PLACES = 15, 8
EXPOSED = {
    "gini": (GINI, False), "coverage": (COVERAGE, False), "new_share": (NEW_SHARE, False),
    "cold_gini": (GINI, True), "cold_coverage": (COVERAGE, True),
}  # fmt: skip
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
            for name in (
                metrics.RANK, metrics.COLD_RANK, metrics.SQUARED_ERROR, CANDIDATES, COLD_CANDIDATES,
                ASKED, BUYERS,
            )
        }  # fmt: skip
        lists = {name: tf.io.FixedLenFeature([PLACES], tf.int64) for name in (LISTED, COLD_LISTED)}
        pairs = {
            name: tf.io.FixedLenFeature([2], tf.float32) for name in (metrics.RATED, metrics.GIVEN)
        }
        return tf.io.parse_example(examples, spec | lists | pairs)


def write_examples(file, columns, states):
    with tf.io.TFRecordWriter(str(file)) as writer:
        for place, state in enumerate(states):
            example = tf.train.Example()
            for name, column in columns.items():
                feature = example.features.feature[name]
                if name in (metrics.RATED, metrics.GIVEN):
                    feature.float_list.value.extend(column[place])
                elif np.ndim(column[place]):
                    feature.int64_list.value.extend(column[place])
                else:
                    feature.float_list.value.append(column[place])
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
        metrics_specs=tfma.metrics.specs_from_metrics(
            [
                *wanted,
                metrics.SquaredError(),
                metrics.Calibration(),
                *(ExposureMetric(measure, cold, name) for name, (measure, cold) in EXPOSED.items()),
                *(
                    EvenRecall(one, bool(cold), f"{cold}{one}")
                    for one in ESTIMATORS
                    for cold in ("", "cold")
                ),
            ]
        ),
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
            name: value["doubleValue"] if "doubleValue" in value else value["arrayValue"]
            for name, value in found[""][""].items()
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
        CANDIDATES: np.full(ROWS, ITEMS),
        COLD_CANDIDATES: np.full(ROWS, COLD),
    }
    columns[LISTED], columns[COLD_LISTED] = lists_of(random)
    unknown = random.random(ROWS) < 0.05
    columns[ASKED] = np.where(unknown, PAD, (30 * random.random(ROWS) ** 3).astype(int))
    columns[BUYERS] = np.where(columns[ASKED] == PAD, 0, 200 // (columns[ASKED] + 2) + 1)
    # None in the third tenth; on both ends, and beyond them.
    rated = random.choice([-0.1, 0.0, 0.05, 0.42, 0.47, 0.91, 1.0, 1.1], (ROWS, 2))
    columns[metrics.RATED] = rated.astype(np.float32)
    columns[metrics.GIVEN] = random.random((ROWS, 2)).astype(np.float32)
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

        check_calibration(values, columns, rows)
        check_exposure(values, columns, rows)
        check_even_recall(values, columns, rows)


def check_calibration(values, columns, rows):
    """By the ratings of each tenth, looked for one after the other."""
    rated, given = (
        columns[name][rows].astype(float).ravel() for name in (metrics.RATED, metrics.GIVEN)
    )
    found = metrics.bins(map(float, values[metrics.CALIBRATION]["float64Values"]))
    tenths = (rated < 0.1, (rated >= 0.4) & (rated < 0.5), rated >= 0.9)
    assert [part.size for part in found] == [tenth.sum() for tenth in tenths]
    assert [part.rated for part in found] == pytest.approx([rated[t].mean() for t in tenths])
    assert [part.given for part in found] == pytest.approx([given[t].mean() for t in tenths])
    apart = [abs(rated[t].sum() - given[t].sum()) for t in tenths]
    assert metrics.calibration_error(found) == pytest.approx(sum(apart) / len(rated))


def test_a_calibration_without_ratings_is_empty_and_its_error_no_number():
    assert metrics.bins(np.zeros(3 * metrics.CALIBRATION_BINS)) == []
    assert math.isnan(metrics.calibration_error([]))


def check_exposure(values, columns, rows):
    """By the mean difference of two items' exposure, item by item."""
    for cold, items in (("", ITEMS), ("cold_", COLD)):
        lists = columns[f"{cold}listed"][rows]
        shown = np.array([(lists == item).sum() for item in range(items)])
        apart = np.abs(shown[:, np.newaxis] - shown).mean()
        assert values[f"{cold}gini"] == pytest.approx(apart / (2 * shown.mean()))
        assert values[f"{cold}coverage"] == pytest.approx((shown > 0).mean())
    places = columns["listed"][rows]
    assert values["new_share"] == pytest.approx((places[places >= 0] < COLD).mean())


def check_even_recall(values, columns, rows):
    """Recall of a policy that draws the items evenly, event by event."""
    asked, buyers = columns[ASKED][rows], columns[BUYERS][rows]
    kept = asked != PAD
    items = np.unique(asked[kept])
    demand = {item: buyers[asked == item][0] for item in items}
    chance = {item: demand[item] / sum(demand.values()) for item in items}
    level = {item: int(np.log2(demand[item])) for item in items}
    for cold, column in (("", metrics.RANK), ("cold", metrics.COLD_RANK)):
        hit = columns[column][rows] <= 20
        weight = np.array([1 / len(items) / chance[item] for item in asked[kept]])
        weight = np.minimum(weight, np.sqrt(kept.sum()))
        expected = {
            item: np.mean([hit[i] for i in np.flatnonzero(kept) if level[asked[i]] == level[item]])
            for item in items
        }
        mean = np.mean(list(expected.values()))
        error = hit[kept] - [expected[item] for item in asked[kept]]
        assert values[f"{cold}ips"] == pytest.approx((weight * hit[kept]).mean())
        assert values[f"{cold}snips"] == pytest.approx((weight @ hit[kept]) / weight.sum())
        assert values[f"{cold}dr"] == pytest.approx(mean + (weight * error).mean())


def test_a_baseline_misses_what_is_asked_of_an_item_that_it_does_not_know():
    """As in the plain recall, by the same log as the candidate."""
    # Two items that the candidate finds; the baseline knows one of them, by fewer buyers.
    asked = [(0, 8.0, 1.0, (0, 4.0, 1.0)), (1, 2.0, 1.0, (PAD, 0.0, 99.0))]
    elements = [
        StandardMetricInputs(
            predictions={
                model: {
                    name: np.array([value])
                    for name, value in zip((ASKED, BUYERS, metrics.RANK), outputs, strict=True)
                }
                for model, outputs in (("candidate", own), ("baseline", before))
            }
        )
        for *own, before in asked
    ]
    for estimator in ESTIMATORS:
        computations = EvenRecall(estimator, cold=False, name=estimator).computations(
            eval_config=tfma.EvalConfig(), model_names=["candidate", "baseline"]
        )
        found: dict[Any, Any] = {}
        for combined in computations:
            if combiner := getattr(combined, "combiner", None):
                parts = [combiner.create_accumulator() for _ in elements]
                for part, element in zip(parts, elements, strict=True):
                    combiner.add_input(part, element)
                found |= combiner.extract_output(combiner.merge_accumulators(parts))
        for combined in computations:
            if not hasattr(combined, "combiner"):
                found |= combined.result(found)
        values = {key.model_name: value for key, value in found.items() if key.name == estimator}
        # The weights are 1/2 ÷ 4/5, and 1/2 ÷ 1/5 cut to √2.
        even = {"ips": 0.625 / 2, "snips": 0.625 / (0.625 + 2**0.5), "dr": 0.5}
        assert values["candidate"] == pytest.approx(
            {"ips": (0.625 + 2**0.5) / 2, "snips": 1.0, "dr": 1.0}[estimator]
        )
        assert values["baseline"] == pytest.approx(even[estimator])


def lists_of(random):
    """Lists of all items, the first `COLD` of which are cold, and those of the cold alone."""
    every = np.array([random.permutation(ITEMS)[:PLACES] for _ in range(ROWS)])
    every[:, 1:][every[:, 1:] % 3 == 0] = -1  # shorter, and not alike
    cold = [
        [*(found := [item for item in row if 0 <= item < COLD]), *[-1] * (PLACES - len(found))]
        for row in every
    ]
    return every, np.array(cold)


@pytest.mark.parametrize("parts", [[[0, 1, 2]], [[0], [1], [2]], [[], [1], [0, 2]]])
def test_exposure_is_the_same_however_many_workers_the_lists_are_spread_over(parts):
    """Of six items one is shown twice and two never; two of five places have new items."""
    outputs = {
        LISTED: [[1, 2], [2, 0], [3, PAD]], COLD_LISTED: [[1, PAD], [0, 4], [PAD, PAD]],
        CANDIDATES: [[4], [6], [5]], COLD_CANDIDATES: [[2], [2], [2]],
    }  # fmt: skip
    shown = np.array([1, 1, 2, 1, 0, 0])
    apart = np.abs(shown[:, np.newaxis] - shown).mean()
    expected = {GINI: apart / (2 * 5 / 6), COVERAGE: 4 / 6, NEW_SHARE: 0.4}
    for measure, value in expected.items():
        combined, _ = ExposureMetric(measure, False, measure).computations(
            eval_config=tfma.EvalConfig(), model_names=["candidate"]
        )
        accumulators = []
        for part in parts:
            accumulators.append(combined.combiner.create_accumulator())
            for row in part:
                answer = {name: np.array(column[row]) for name, column in outputs.items()}
                element = StandardMetricInputs(predictions={"candidate": answer})
                combined.combiner.add_input(accumulators[-1], element)
            # An answer without lists, as of an older model, shows nothing.
            answer = {metrics.RANK: np.array([1])}
            unlisted = StandardMetricInputs(predictions={"candidate": answer})
            combined.combiner.add_input(accumulators[-1], unlisted)
        merged = combined.combiner.merge_accumulators(accumulators)
        [found] = combined.combiner.extract_output(merged).values()
        assert found(measure) == pytest.approx(value)


def test_lists_without_a_place_have_no_measure_and_equal_ones_no_inequality():
    assert math.isnan(gini([], 4)) and coverage([], 4) == 0.0
    assert math.isnan(coverage([], 0))
    assert gini([3, 3, 3], 3) == 0.0
    assert gini([7], 100) == pytest.approx(0.99)
    lists = np.array([[1, 2, -1], [2, -1, -1]])
    assert exposures(lists, 4).tolist() == [0, 1, 2, 0]


def test_a_slice_without_rows_has_no_value():
    [computation] = metrics.SquaredError().computations()
    empty = computation.combiner.merge_accumulators([computation.combiner.create_accumulator()])
    [value] = computation.combiner.extract_output(empty).values()
    assert math.isnan(value)
