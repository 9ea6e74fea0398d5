"""TFX's entry into tuning: KerasTuner tries options of the closed form and of gradient training.

`keras_tuner` works with Keras 3 and refuses models of `tf_keras`
(https://github.com/keras-team/keras-tuner/issues/1039). It is given none: a trial here is a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras_tuner
import numpy as np
import tf_keras
from absl import logging
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import SimulatedLaunch
from models.options import OPTIONS, TRIALS, TrainerOptions
from models.preparation import SELECTION_FOLDS, Prepared
from models.record import SQUARED_ERROR
from models.shop_data import ShopData
from models.training import Trainer

# Each is tried between its configured value divided and multiplied by the range.
_TUNED: Final = (
    "model.teacher_regularization",
    "training.learning_rate",
    "training.scalar_learning_rate",
    "training.rating_weight",
)
_RANGE: Final = 8.0
_SCORE: Final = "score"
_MEASURED_FOLDS: Final = 2
_TINY: Final = 1e-6

Score = Callable[[TrainerOptions], dict[str, float]]


class Study:
    """What trials have in common: everything is prepared once with the configured options.

    A trial computes the co-purchase teacher of simulated launches anew and trains the towers.
    """

    def __init__(self, data: ShopData, options: TrainerOptions) -> None:
        """Prepare.

        Args:
            data: of the shop.
            options: as configured.
        """
        self._options = options
        self._purchases = data.train.purchases()
        self._prepared = Prepared.of(data, options, lambda settings, recall: None)

    def score(self, options: TrainerOptions) -> dict[str, float]:
        """Recall@20 of simulated new items, squared error of ratings on the eval split, and both.

        Returns:
            `recall`, `squared_error` where there are ratings, and `score`: log recall less log
            error, so that one hundredth more of the one weighs as much as one less of the other.
        """
        tf_keras.utils.set_random_seed(options.training.seed)
        recall = self._recall(options.model.teacher_regularization)
        model = self._prepared.towers(options)
        trainer = Trainer(model, self._prepared.inputs, options.training)
        outcome = trainer.run(self._prepared.folds, lambda step, values: None)
        found = {"recall": recall} | outcome.after
        error = found.get(SQUARED_ERROR, 1.0)
        return found | {_SCORE: math.log(recall + _TINY) - math.log(error + _TINY)}

    def _recall(self, regularization: float) -> float:
        """Mean over launches that the kernel was not chosen on, where there are any."""
        folds = self._prepared.folds
        found = []
        for fold in (folds[SELECTION_FOLDS:] or folds)[:_MEASURED_FOLDS]:
            launch = SimulatedLaunch.hide(
                self._purchases,
                targets=fold.launch.targets,
                anchors=fold.launch.anchors,
                regularization=regularization,
            )
            found.append(AlignedLaunch(launch, fold.weights).quality()["recall"])
        return float(np.mean(found))


class ConfiguredFirst(keras_tuner.oracles.BayesianOptimizationOracle):
    """Tries the configured values first, so that the best ones are never worse on these launches.

    Then some at random, then what a Gaussian process expects most of.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values of the next trial; KerasTuner names the method."""
        if self.trials:
            chosen: dict[str, Any] = super().populate_space(trial_id)
            return chosen
        return {"status": "RUNNING", "values": {p.name: p.default for p in self.get_space().space}}


class ShopTuner(keras_tuner.Tuner):
    """A trial is a `Study`'s score."""

    def __init__(self, score: Score, options: TrainerOptions, *, trials: int, folder: Path) -> None:
        """Set up the search.

        Args:
            score: measures options, as `Study.score`.
            options: as configured.
            trials: how many are tried.
            folder: where KerasTuner keeps its state.
        """
        self._score = score
        self._configured = options
        space = keras_tuner.HyperParameters()
        for name in _TUNED:
            section, option = name.split(".")
            if value := getattr(getattr(options, section), option):
                low, high = value / _RANGE, value * _RANGE
                space.Float(name, low, high, sampling="log", default=value)
        oracle = ConfiguredFirst(
            objective=keras_tuner.Objective(_SCORE, "max"),
            max_trials=trials,
            num_initial_points=max(2, trials // 3),
            seed=options.training.seed,
            hyperparameters=space,
            tune_new_entries=False,
            max_consecutive_failed_trials=1,
        )
        super().__init__(oracle, directory=str(folder), project_name="tuning", overwrite=True)

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Score one set of values."""
        values = trial.hyperparameters
        found = self._score(self._configured.with_hyperparameters(values.get_config()))
        logging.info("Trial %s: %s with %s", trial.trial_id, found, values.values)
        return found


def tuner_fn(arguments: FnArgs) -> TunerFnResult:
    """Set up the search; TFX runs it and hands the best values to the Trainer.

    Args:
        arguments: TFX's; `custom_config` also holds what `components.tuner` adds.
    """
    config = arguments.custom_config
    options = TrainerOptions.model_validate(config[OPTIONS])
    tf_keras.utils.set_random_seed(options.training.seed)
    study = Study(ShopData.read(arguments, options.history_length), options)
    folder = Path(arguments.working_dir)
    tuner = ShopTuner(study.score, options, trials=config[TRIALS], folder=folder)
    return TunerFnResult(tuner=tuner, fit_kwargs={"verbose": 0})
