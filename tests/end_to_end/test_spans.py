"""A shop in two spans through every node: the second run goes on from the first one's model."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from benchmarks.span_split import BOTH, FIRST, cut
from benchmarks.transformed import trainer_arguments
from components.drift_validator import FEWEST
from models import features
from models.preparation import Prepared
from models.shop_data import ShopData
from models.training_state import TrainingState
from pipeline.config import load_configuration
from pipeline.evaluation import read_rating_counts
from pipeline.outcome import Outcome
from pipeline.pipeline import training_options
from pipeline.runner import run_pipeline
from tests.end_to_end.metadata import NewestRun
from tests.end_to_end.running import small
from tests.end_to_end.shop import write_shop
from tests.tiny_bert import write_tiny_bert

REPLAY = 60
STEPS = 20
RESOLVER = "ServedModelOfOlderSpan"
TRAINER = "TwoTowerTrainer"
# The shop's few bad rows are a large share of the smaller span's.
SETTINGS = (
    "data.max_quarantined_share=0.3", f"continual.replay={REPLAY}", f"continual.steps={STEPS}",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What one run returned and left in ML Metadata."""

    outcome: Outcome
    metadata: NewestRun

    @property
    def served(self) -> Path:
        """The Trainer's model."""
        [model] = self.metadata.outputs(TRAINER, "model")
        return model / "Format-Serving"

    @cached_property
    def loaded(self) -> Any:
        """That model, which takes seconds to load."""
        return tf.saved_model.load(str(self.served))


@dataclass(frozen=True)
class Workplace:
    """Where the runs of this module happen."""

    folder: Path

    def config(self, name):
        return load_configuration(
            None, [*small(self.folder / name, self.folder / "bert"), *SETTINGS]
        )

    def run(self, name):
        config = self.config(name)
        root = self.folder / "root"
        outcome = run_pipeline(config, root=root, console=Console(file=io.StringIO()))
        return Run(outcome, NewestRun(root))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spans")
    write_shop(folder / "data")
    write_tiny_bert(folder / "bert")
    cut(folder / "data", folder, seed=3)
    return Workplace(folder)


@pytest.fixture(scope="module")
def first(place):
    return place.run(FIRST)


@pytest.fixture(scope="module")
def second(place, first):
    return place.run(BOTH)


@pytest.fixture(scope="module")
def arguments(place, second):
    return trainer_arguments(place.folder / "root")


@pytest.fixture(scope="module")
def data(place, arguments):
    return ShopData.read(arguments, place.config(BOTH).data.history_length)


def test_the_first_span_has_nothing_to_go_on_from(first):
    assert RESOLVER not in first.metadata.states
    assert first.outcome.training.start == "fresh"
    assert first.outcome.version is not None
    assert first.outcome.summary.spans == (1,)


def test_the_second_span_goes_on_from_the_first_one_s_model(first, second):
    assert second.metadata.inputs(TRAINER, "base_model") == first.metadata.outputs(TRAINER, "model")
    assert second.outcome.training.start == "warm"
    assert max(point.step for point in second.outcome.training.curve) == STEPS
    assert max(point.step for point in first.outcome.training.curve) > STEPS
    assert second.outcome.summary.spans == (1, 2)


def test_older_interactions_are_replayed_up_to_the_bound(second, data):
    older = int((data.splits[features.TRAIN].span == 1).sum())
    assert older > REPLAY
    assert second.outcome.training.replayed == REPLAY


def test_training_starts_with_the_weights_and_the_texts_of_the_base(
    place, first, second, arguments, data
):
    options = training_options(place.config(BOTH))
    base, latest = TrainingState.read(first.served), TrainingState.read(second.served)
    assert base is not None and latest is not None
    prepared = Prepared.of(data, options, lambda settings, recall: None, base)
    towers = prepared.towers(options, base)
    for variable, value in zip(towers.variables, base.towers, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    rows, theirs = base.known_texts(data.table.tokens)
    assert 0 < len(rows) < len(data.table)
    np.testing.assert_array_equal(prepared.view.text[rows], base.text[theirs])
    fresh = Prepared.of(data, options, lambda settings, recall: None)
    np.testing.assert_allclose(prepared.view.text, fresh.view.text, atol=1e-5)
    assert prepared.settings in {base.kernel, fresh.settings}
    # The next run can go on from this one in turn.
    assert latest.facts == base.facts


def examples_of(arguments, span):
    """Serialized held-out interactions of a span, and their items."""
    serialized, items = [], []
    for split in (features.EVAL, features.NEW_ITEMS):
        files = arguments.custom_config["split_files"][split]
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            if feature["span"].int64_list.value[0] == span:
                serialized.append(record)
                items.append(feature["item_id"].bytes_list.value[0])
    return tf.constant(serialized), np.array(items, object)


def test_both_models_rank_old_interactions_among_the_items_of_then(first, second, arguments, data):
    examples, items = examples_of(arguments, 1)
    first_span = np.full(len(data.table), 9)
    for part in data.splits.values():
        for row, span in zip(part.item, part.span, strict=True):
            first_span[row] = min(first_span[row], span)
    then = int((first_span == 1).sum())
    assert then < int((first_span < 9).sum())
    for run in (first, second):
        ranks = run.loaded.signatures["evaluate"](examples=examples)["rank"].numpy()
        assert ranks.max() <= then
    assert len(items) == len(ranks)


def test_an_item_that_the_baseline_does_not_know_ranks_behind_all_it_knows(first, arguments, data):
    examples, items = examples_of(arguments, 2)
    known = set(first.loaded._shelf.item_id.numpy())
    answer = first.loaded.signatures["evaluate"](examples=examples)
    unknown = np.array([item not in known for item in items])
    assert unknown.any() and not unknown.all()
    ranks = answer["rank"].numpy()
    assert (ranks[unknown] == len(known) + 1).all()
    assert (ranks[~unknown] <= len(known)).all()
    assert np.isfinite(answer["squared_error"].numpy()).all()


def test_the_gates_look_at_old_and_new_spans(second):
    slices = {decision.gate.slice for decision in second.outcome.decisions}
    assert {"earlier", "latest", "earlier_new", "latest_new"} <= slices
    assert {"span 1", "span 2", "span 1, new", "span 2, new"} <= set(
        second.outcome.metrics["baseline"]
    )
    for decision in second.outcome.decisions:
        assert np.isfinite(decision.candidate) and np.isfinite(decision.baseline)
    assert second.outcome.blessed == all(d.passed for d in second.outcome.decisions)


def test_drift_is_that_of_the_newest_span_where_it_has_enough_interactions(first, second, data):
    rows = {split: int((part.span == 2).sum()) for split, part in data.splits.items()}
    drift = second.outcome.drift
    assert drift.since == first.outcome.run_id
    compared = {found.split for found in drift.features if found.feature == features.RATING}
    assert compared == {split for split, count in rows.items() if count >= FEWEST} != set()
    [evaluation] = second.metadata.outputs("Evaluator", "evaluation")
    held_out = rows[features.EVAL] + rows[features.NEW_ITEMS]
    assert sum(read_rating_counts(evaluation)) == held_out


def test_a_repeat_goes_on_from_the_same_model_and_takes_it_from_the_cache(place, first, second):
    again = place.run(BOTH)
    assert again.metadata.inputs(TRAINER, "base_model") == first.metadata.outputs(TRAINER, "model")
    assert again.metadata.states[TRAINER] == "CACHED"
    assert again.served == second.served
