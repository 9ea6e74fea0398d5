import math

import pytest

from models.tuner import ShopTuner
from pipeline.config import load_configuration
from pipeline.pipeline import training_options

CONFIGURED = {
    "model.teacher_regularization": 60.0,
    "training.learning_rate": 0.0005,
    "training.scalar_learning_rate": 0.01,
    "training.rating_weight": 1.0,
}


@pytest.fixture(scope="module")
def options():
    return training_options(load_configuration(), encoder_fingerprint="e")


class Study:
    """Likes one set of values, and less what is further away on a logarithmic scale."""

    def __init__(self, best):
        self.best = best
        self.asked = []

    def score(self, options):
        values = {
            name: getattr(getattr(options, name.split(".")[0]), name.split(".")[1])
            for name in CONFIGURED
        }
        self.asked.append(values)
        far = sum(math.log(values[name] / value) ** 2 for name, value in self.best.items())
        return {"score": -far, "recall": 0.1}


def search(options, best, folder, trials):
    study = Study(best)
    tuner = ShopTuner(study.score, options, trials=trials, folder=folder)
    tuner.search(verbose=0)
    return study, tuner.get_best_hyperparameters()[0]


def test_the_search_finds_better_values_near_the_configured_ones(options, tmp_path):
    factors = zip(CONFIGURED, (4, 0.2, 3, 0.5), strict=True)
    best = {name: CONFIGURED[name] * factor for name, factor in factors}
    study, found = search(options, best, tmp_path, 12)
    assert len(study.asked) == 12
    assert study.asked[0] == pytest.approx(CONFIGURED), "the configured values come first"
    for values in study.asked:
        for name, value in values.items():
            assert 0.99 / 8 < value / CONFIGURED[name] < 8.01
    scores = [-sum(math.log(v[n] / best[n]) ** 2 for n in best) for v in study.asked]
    assert max(scores) > scores[0] + 2.0
    assert found.values == pytest.approx(study.asked[scores.index(max(scores))])


def test_the_configured_values_are_kept_where_nothing_is_better(options, tmp_path):
    _, found = search(options, CONFIGURED, tmp_path, 4)
    assert found.values == pytest.approx(CONFIGURED)


def test_the_same_seed_tries_the_same_values(options, tmp_path):
    one, _ = search(options, CONFIGURED, tmp_path / "one", 5)
    other, _ = search(options, CONFIGURED, tmp_path / "other", 5)
    assert one.asked == other.asked


def test_a_trial_that_fails_ends_the_search(options, tmp_path):
    class Broken(Study):
        def score(self, options):
            raise ValueError("no launch has users")

    tuner = ShopTuner(Broken({}).score, options, trials=4, folder=tmp_path)
    with pytest.raises(RuntimeError, match="no launch has users"):
        tuner.search(verbose=0)


def test_found_values_replace_the_options_of_the_same_names(options):
    found = {"space": [], "values": {"training.learning_rate": 0.5}}
    tuned = options.with_hyperparameters(found)
    assert tuned.training.learning_rate == 0.5
    untouched = {"training": options.training}
    assert tuned.model_copy(update=untouched) == options
    assert options.with_hyperparameters(None) == options
