"""TFX's Tuner with the catalogue as a second pair of inputs, as `components.trainer` has it."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.components.tuner import executor
from tfx.components.tuner.component import Tuner
from tfx.dsl.components.base import executor_spec
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils

from components.artifacts import Artifacts
from components.trainer import CATALOGUE_INPUTS, input_files
from models import features
from models.options import OPTIONS, TRIALS


class TwoTowerTunerSpec(standard_component_specs.TunerSpec):
    """The stock spec and the catalogue."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        **standard_component_specs.TunerSpec.INPUTS,
        **CATALOGUE_INPUTS,
    }


class Executor(executor.Executor):
    """Hands on what `FnArgs` has no field for, and keeps KerasTuner from printing."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Search, and write the best values and all results."""
        key = standard_component_specs.CUSTOM_CONFIG_KEY
        config = json_utils.loads(exec_properties[key]) | input_files(input_dict)
        tuner = executor.search(
            input_dict,
            exec_properties | {key: json_utils.dumps(config)},
            self._get_tmp_dir(),
            print_tuning_summary=False,
        )
        executor.write_best_hyperparameters(tuner, output_dict)


class TwoTowerTuner(Tuner):
    """Tries options of training; see `models.tuner.tuner_fn`."""

    SPEC_CLASS = TwoTowerTunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        interactions: types.BaseChannel,
        interactions_graph: types.BaseChannel,
        catalogue: types.BaseChannel,
        catalogue_graph: types.BaseChannel,
        options: dict[str, Any],
        trials: int,
    ) -> None:
        """Construct the component.

        Args:
            interactions: interaction Examples, as ingested.
            interactions_graph: their Transform graph, which holds the popularity of the items.
            catalogue: transformed catalogue Examples.
            catalogue_graph: their Transform graph.
            options: the sections that `models.options.TrainerOptions` names, as JSON values.
            trials: sets of values that are tried.
        """
        spec = TwoTowerTunerSpec(
            examples=interactions,
            transform_graph=interactions_graph,
            catalogue=catalogue,
            catalogue_graph=catalogue_graph,
            tuner_fn="models.tuner.tuner_fn",
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL]),
            custom_config=json_utils.dumps({OPTIONS: options, TRIALS: trials}),
            best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
            tuner_results=types.Channel(type=standard_artifacts.TunerResults),
        )
        # The stock constructor would build a spec without the catalogue.
        super(Tuner, self).__init__(spec=spec)
