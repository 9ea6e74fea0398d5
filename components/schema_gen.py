"""`CuratedSchemaGen`: TFX's ImportSchemaGen, which the cache knows by the content of the schema.

The stock one has the path alone as a parameter, so in a root that has run before an edited schema,
or that of a newer Debut, would never be read.
"""

from __future__ import annotations

from typing import ClassVar

from tfx import types
from tfx.components.schema_gen.import_schema_gen.executor import Executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter


class CuratedSchemaGenSpec(ComponentSpec):
    """Parameters and outputs of `CuratedSchemaGen`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "schema_file": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }


class CuratedSchemaGen(base_component.BaseComponent):
    """Copies a schema file into the pipeline.

    Outputs:
        schema: Schema.
    """

    SPEC_CLASS = CuratedSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, schema_file: str, fingerprint: str) -> None:
        """Construct the component; it reads nothing.

        Args:
            schema_file: path of the file, as the executor sees it.
            fingerprint: of its content; the cache is used only where it is the same.
        """
        super().__init__(
            CuratedSchemaGenSpec(
                schema_file=schema_file,
                fingerprint=fingerprint,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
