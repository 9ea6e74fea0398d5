"""`DataFolderExampleGen`: Debut's ExampleGen for a data folder."""

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Quarantine
from components.ingestion.executor import Executor
from components.ingestion.options import DataOptions


class DataFolderExampleGenSpec(ComponentSpec):
    """Parameters and outputs of `DataFolderExampleGen`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "data": ExecutionParameter(type=str),
        "options": ExecutionParameter(type=str),  # DataOptions as JSON
        "fingerprint": ExecutionParameter(type=str),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "catalogue": ChannelParameter(type=standard_artifacts.Examples),
        "interactions": ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": ChannelParameter(type=Quarantine),
    }


class DataFolderExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a data folder into Examples; bad rows go to a quarantine.

    Outputs:
      catalogue: Examples with the split `all`, every item once.
      interactions: Examples with the splits `train`, `eval` and `new_items`.
      quarantine: `components.artifacts.Quarantine`.
    `models.features` names and describes the features.
    """

    SPEC_CLASS = DataFolderExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, *, data: str, options: DataOptions, fingerprint: str):
        """Constructs the component; reads nothing.

        Args:
          data: path of the data folder, which every Beam worker must be able to read.
          options: how it is validated and split.
          fingerprint: of the folder's contents and of the code (`folder.fingerprint`). TFX takes
            outputs from its cache only where it is the same.
        """
        super().__init__(
            DataFolderExampleGenSpec(
                data=data,
                # Of a subclass, such as the whole data section, only the options go on.
                options=options.model_dump_json(include=set(DataOptions.model_fields)),
                fingerprint=fingerprint,
                catalogue=types.Channel(type=standard_artifacts.Examples),
                interactions=types.Channel(type=standard_artifacts.Examples),
                quarantine=types.Channel(type=Quarantine),
            )
        )
