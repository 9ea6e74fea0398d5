"""TFX's Trainer with the catalogue as a second pair of inputs.

The stock component knows one set of Examples and one Transform graph. Debut trains on two: the
catalogue, where every text stands once, and the interactions, which only hold ids. The executor
hands the catalogue to `run_fn` in `custom_config`, the one place of `FnArgs` that is free.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from tfx import types
from tfx.components.trainer import executor
from tfx.components.trainer.component import Trainer
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils, json_utils

from components.artifacts import Artifacts
from models import features
from models.options import BEAM_ARGS, CATALOGUE_FILES, CATALOGUE_GRAPH_PATH, OPTIONS, SPLIT_FILES

CATALOGUE: Final = "catalogue"
CATALOGUE_GRAPH: Final = "catalogue_graph"


# What the stock specs of Trainer and Tuner lack.
CATALOGUE_INPUTS: Final = {
    CATALOGUE: ChannelParameter(type=standard_artifacts.Examples),
    CATALOGUE_GRAPH: ChannelParameter(type=standard_artifacts.TransformGraph),
}


class TwoTowerTrainerSpec(standard_component_specs.TrainerSpec):
    """The stock spec and the catalogue."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        **standard_component_specs.TrainerSpec.INPUTS,
        **CATALOGUE_INPUTS,
    }


class Executor(executor.GenericExecutor, base_beam_executor.BaseBeamExecutor):
    """Adds the catalogue's files, all splits of the interactions and how Beam runs to `run_fn`."""

    def _GetFnArgs(
        self,
        input_dict: Artifacts,
        output_dict: Artifacts,
        exec_properties: dict[str, Any],
    ) -> FnArgs:
        arguments = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        arguments.custom_config |= input_files(input_dict)
        arguments.custom_config[BEAM_ARGS] = list(self._beam_pipeline_args or ())
        return arguments


def input_files(input_dict: Artifacts) -> dict[str, Any]:
    """What `FnArgs` has no field for: the catalogue's files and those of all splits."""
    examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
    catalogue = artifact_utils.get_single_instance(input_dict[CATALOGUE])
    return {
        CATALOGUE_FILES: _files(catalogue, features.ALL),
        CATALOGUE_GRAPH_PATH: artifact_utils.get_single_uri(input_dict[CATALOGUE_GRAPH]),
        SPLIT_FILES: {
            split: _files(examples, split)
            for split in artifact_utils.decode_split_names(examples.split_names)
        },
    }


class TwoTowerTrainer(Trainer):
    """Trains the two towers; see `models.trainer.run_fn`."""

    SPEC_CLASS = TwoTowerTrainerSpec
    # A large catalogue's index is built by Beam.
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        interactions: types.BaseChannel,
        interactions_graph: types.BaseChannel,
        catalogue: types.BaseChannel,
        catalogue_graph: types.BaseChannel,
        options: dict[str, Any],
        hyperparameters: types.BaseChannel | None = None,
        base_model: types.BaseChannel | None = None,
    ) -> None:
        """Construct the component.

        Args:
            interactions: interaction Examples, as ingested.
            interactions_graph: their Transform graph, which holds the popularity of the items.
            catalogue: transformed catalogue Examples.
            catalogue_graph: their Transform graph, which the served model contains.
            options: the sections that `models.options.TrainerOptions` names, as JSON values.
            hyperparameters: of a Tuner; they replace options of the same names.
            base_model: from which training goes on, where the channel has one.
        """
        spec = TwoTowerTrainerSpec(
            examples=interactions,
            transform_graph=interactions_graph,
            catalogue=catalogue,
            catalogue_graph=catalogue_graph,
            hyperparameters=hyperparameters,
            base_model=base_model,
            train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN]),
            eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL]),
            run_fn="models.trainer.run_fn",
            custom_config=json_utils.dumps({OPTIONS: options}),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
        # The stock constructor would build a spec without the catalogue.
        super(Trainer, self).__init__(spec=spec)


def _files(examples: types.Artifact, split: str) -> list[str]:
    uri = artifact_utils.get_split_uri([examples], split)
    return sorted(fileio.glob(io_utils.all_files_pattern(uri)))
