"""`CatalogueUpdater`: a pushed version with products added, changed or withdrawn, as a Model."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import path_utils

from components.artifacts import Artifacts, Quarantine
from components.catalogue.update import Change, DataTerms, update
from components.shelf_change import check_saved


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `CatalogueUpdater`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Writes the changed version and the rows that could not be used.

        Raises:
          BadInput: a file can't be used.
          Refused: the gate refused the version.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        candidate = Path(
            path_utils.serving_model_dir(artifact_utils.get_single_uri(output_dict["model"]))
        )
        updated, check = update(
            Path(artifact_utils.get_single_uri(input_dict["base"])),
            Change.from_json(exec_properties["change"]),
            DataTerms.from_json(exec_properties["terms"]),
            candidate=candidate,
            beam_args=self._beam_pipeline_args or [],
        )
        check_saved(candidate, check)
        rows = Path(artifact_utils.get_single_uri(output_dict["quarantine"]))
        with gzip.open(rows / "rows-00000-of-00001.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(f"{row.to_json()}\n" for row in updated.set_aside)


class CatalogueUpdaterSpec(ComponentSpec):
    """Parameters, inputs and outputs of `CatalogueUpdater`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "base": ChannelParameter(type=standard_artifacts.PushedModel),
    }
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "change": ExecutionParameter(type=str),  # Change as JSON
        "terms": ExecutionParameter(type=str),  # DataTerms as JSON
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "quarantine": ChannelParameter(type=Quarantine),
    }


class CatalogueUpdater(base_beam_component.BaseBeamComponent):
    """Changes a pushed version without training.

    Outputs:
      model: Model, gated.
      quarantine: `components.artifacts.Quarantine`, the rows alone.
    """

    SPEC_CLASS = CatalogueUpdaterSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, *, base: types.BaseChannel, change: Change, terms: DataTerms) -> None:
        """Constructs the component; reads nothing.

        Args:
          base: PushedModel, the version to change.
          change: files, which every Beam worker must be able to read.
          terms: of the run that trained the version.
        """
        super().__init__(
            CatalogueUpdaterSpec(
                base=base,
                change=change.to_json(),
                terms=terms.to_json(),
                model=types.Channel(type=standard_artifacts.Model),
                quarantine=types.Channel(type=Quarantine),
            )
        )
