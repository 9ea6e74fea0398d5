"""TFX's Transform without its deep-copy optimisation, which newer Beam releases break.

Where an analyzer needs another analyzer's result, Transform 1.16 clones Beam's `AppliedPTransform`
by a constructor that has since grown (tensorflow_transform/beam/deep_copy.py calls it with four
arguments). The optimisation only saves reading the input twice, and TFX has no switch for it.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import tensorflow_transform.beam as tft_beam
from tfx import types
from tfx.components import Transform
from tfx.components.transform import executor
from tfx.dsl.components.base import executor_spec


class Executor(executor.Executor):
    """The stock executor with the optimisation switched off."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run the stock executor."""
        with mock.patch.object(
            tft_beam.Context, "get_use_deep_copy_optimization", staticmethod(lambda: False)
        ):
            super().Do(input_dict, output_dict, exec_properties)


class MultiPhaseTransform(Transform):
    """The stock component with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
