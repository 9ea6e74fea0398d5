"""TFX's compiler for Kubeflow and what has to be done around it (TFX 1.16.0).

- It refuses every InfraValidator, because the stock one starts Docker or a pod (tfx#5512). Ours
  starts a process in its own container, so the check is switched off while it compiles.
- It takes type names of our own only with one dot, and the container imports what they name. So
  `Quarantine` is called `components.Quarantine` here (compiler_utils.py, `_SCHEMA_TITLE_RE`); its
  longer name stays, for the sake of the metadata that roots have.
- Without pipeline spec 2.1 it loses runtime parameters, and open-source KFP refuses the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from unittest import mock

from tfx import v1 as tfx
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner, step_builder

from components.artifacts import Quarantine

QUARANTINE: Final = "components.Quarantine"
ENTRY_POINT: Final = ("python", "-m", "pipeline.kubeflow.entrypoint")


def compile_job(pipeline: tfx.dsl.Pipeline, *, image: str, commands: Sequence[str]) -> Any:
    """The pipeline as a PipelineJob in its JSON form.

    Args:
        pipeline: without Resolvers, which TFX compiles to what open-source KFP can't run.
        image: of every container.
        commands: of every container, before the arguments.
    """

    class NoNode:
        """Stands for InfraValidator where TFX asks whether a node is one."""

    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image,
            default_commands=list(commands),
            use_pipeline_spec_2_1=True,
        )
    )
    with (
        mock.patch.object(step_builder.components, "InfraValidator", NoNode),
        mock.patch.object(Quarantine, "TYPE_NAME", QUARANTINE),
    ):
        return runner.run(pipeline, write_out=False)
