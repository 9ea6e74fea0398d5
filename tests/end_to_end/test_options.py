"""A run with what is off by default: a tuner, fine-tuning with all its parts, an RNN head.

Minutes; `make test-encoders` runs it.
"""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from benchmarks.ablation import measure
from benchmarks.held_out import held_out
from benchmarks.transformed import transformed
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.selection import START
from models.preparation import Prepared
from models.shop_data import ShopData
from pipeline.config import load_configuration
from pipeline.pipeline import training_options
from pipeline.runner import run_pipeline
from tests.end_to_end.metadata import NewestRun
from tests.end_to_end.running import small
from tests.end_to_end.shop import write_shop
from tests.tiny_bert import write_tiny_bert

pytestmark = pytest.mark.encoders

TRIALS = 2
SETTINGS = [
    "encoder.trainable_layers=-1",
    "encoder.adaptation=lora",
    "encoder.adaptation_size=2",
    "rating.head=rnn",
    "pretraining.steps=3",
    "pretraining.batch_items=4",
    "finetuning.steps=6",
    "finetuning.batch_pairs=16",
    "finetuning.learning_rate=0.003",
    "finetuning.warmup_steps=1",
    "finetuning.token_dropout=0.1",
    "finetuning.adversarial_epsilon=0.1",
    "finetuning.ema_momentum=0.5",
    "finetuning.self_training_pairs=100",
    "tuner.enabled=true",
    f"tuner.trials={TRIALS}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A root, and the settings of everything that happens in it."""
    folder = tmp_path_factory.mktemp("options")
    shop, encoder = write_shop(folder / "data"), write_tiny_bert(folder / "bert")
    return folder / "root", small(shop.folder, encoder)


@pytest.fixture(scope="module")
def run(place):
    root, settings = place
    config = load_configuration(None, [*settings, *SETTINGS])
    outcome = run_pipeline(config, root=root, console=Console(file=io.StringIO()))
    return outcome, NewestRun(root)


def test_the_model_passes_every_gate_and_is_pushed(run):
    outcome, metadata = run
    assert outcome.blessed and outcome.infra_blessed and outcome.version is not None
    assert metadata.states["TwoTowerTuner"] == "COMPLETE"


def test_the_trainer_took_the_best_values_of_the_tuner(run):
    outcome, metadata = run
    (folder,) = metadata.outputs("TwoTowerTuner", "tuner_results")
    results = json.loads((folder / "tuner_results.json").read_text())
    assert len(results) == TRIALS
    best = max(results, key=lambda trial: trial["score"])
    tuned = outcome.training.tuned
    assert len(tuned) == 4
    assert tuned == pytest.approx({name: best[name] for name in tuned})
    configured = next(trial for trial in results if trial["trial_id"] == "0")
    assert configured["training.learning_rate"] == pytest.approx(0.01)


def test_the_record_counts_the_few_weights_that_were_fine_tuned(run):
    outcome, _ = run
    # Two layers, each with two projections of 16 x 2 and 2 x 16.
    assert outcome.training.fine_tuned.trainable == 2 * 2 * 2 * 32


def test_the_ablation_measures_each_row_on_the_held_out_items(run, place):
    """The run's own Transform output serves; recall is recomputed with plain sets."""
    root, settings = place
    arguments = transformed(load_configuration(None, settings), root)
    rows = {"default": [], "MLP": ["rating.head=mlp"], "LoRA": SETTINGS[:3]}
    configs = {
        name: load_configuration(None, [*settings, *changed, "finetuning.steps=2"])
        for name, changed in rows.items()
    }
    text = io.StringIO()
    measured = measure(arguments, configs, Console(file=text))
    default, mlp, lora = (measured[name] for name in rows)
    assert default.fine_tuned is None and mlp.parameters > default.parameters
    assert mlp.recall == default.recall, "a rating head does not rank"
    assert (
        lora.fine_tuned is not None
        and lora.fine_tuned.trainable == 256
        and lora.parameters == default.parameters
    )
    assert 0 < default.squared_error < 0.2 and default.seconds > 0

    options = training_options(configs["default"])
    data = ShopData.read(arguments, options.history_length)
    prepared = Prepared.of(data, options, lambda settings, recall: None)
    launch = held_out(data, options)
    cold = {row for row in range(len(data.table)) if data.table.is_cold[row]}
    assert set(launch.targets) <= cold
    aligned = AlignedLaunch.align(launch, prepared.view, prepared.settings)
    found = recall(aligned, data.train, data.splits["new_items"])
    assert default.recall == pytest.approx(found, abs=0.02)
    # What fine-tuning is judged by: what the validation launch inherits before it and after.
    judged = AlignedLaunch.align(prepared.validation.launch, prepared.view, START)
    found = recall(judged, data.train, data.train)
    assert lora.fine_tuned.before == pytest.approx(found, abs=0.02)


def recall(aligned, histories, purchases):
    """Recall@20 of the launch's items, with plain sets."""
    launch, recalls = aligned.launch, []
    for user in np.unique(purchases.user):
        known = set(histories.item[histories.user == user]) & set(launch.anchors)
        wanted = set(purchases.item[purchases.user == user]) & set(launch.targets)
        if not known or not wanted:
            continue
        scores = np.isin(launch.anchors, list(known)) @ launch.teacher @ aligned.weights
        best = launch.targets[np.argsort(-scores, kind="stable")[:20]]
        recalls.append(len(set(best) & wanted) / min(len(wanted), 20, len(launch.targets)))
    return np.mean(recalls)
