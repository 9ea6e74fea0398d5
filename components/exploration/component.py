"""`ExplorationUpdater`: a pushed version that explores as a feedback log suggests, as a Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.artifacts import Artifacts
from components.exploration.update import update
from components.shelf_change import check_saved
from models.options import ExploreOptions
from models.pseudonyms import read_key


class Executor(base_executor.BaseExecutor):
    """Executor of `ExplorationUpdater`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Writes the changed version.

        Raises:
          BadInput: there is no such log, or no key.
          Refused: the gate refused what was learned.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        log, name = exec_properties["log"], exec_properties["key"]
        candidate = Path(
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict["model"]))
        )
        _, check = update(
            Path(artifact_utils.get_single_uri(input_dict["base"])),
            Path(log) if log else None,
            ExploreOptions.model_validate_json(exec_properties["options"]),
            key=read_key(name) if log else b"",
            candidate=candidate,
        )
        check_saved(candidate, check)


class ExplorationUpdaterSpec(ComponentSpec):
    """Parameters, inputs and outputs of `ExplorationUpdater`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "base": ChannelParameter(type=standard_artifacts.PushedModel),
    }
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "log": ExecutionParameter(type=str),
        "key": ExecutionParameter(type=str),  # name of the environment variable
        "options": ExecutionParameter(type=str),  # ExploreOptions as JSON
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "model": ChannelParameter(type=standard_artifacts.Model),
    }


class ExplorationUpdater(base_component.BaseComponent):
    """Learns from a feedback log which new items deserve places, without training.

    Outputs:
      model: Model, gated by off-policy evaluation.
    """

    SPEC_CLASS = ExplorationUpdaterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, *, base: types.BaseChannel, log: str, key: str, options: ExploreOptions
    ) -> None:
        """Constructs the component; reads nothing.

        Args:
          base: PushedModel, the version to change.
          log: folder of the feedback log; empty to begin without one.
          key: name of the environment variable with the key of the log; its value is kept nowhere.
          options: of the exploration.
        """
        super().__init__(
            ExplorationUpdaterSpec(
                base=base,
                log=log,
                key=key,
                options=options.model_dump_json(),
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
