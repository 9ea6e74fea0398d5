"""What TFX's compiler and entry point still get wrong: a test that fails shows what can go."""

from unittest import mock

import pytest
from kfp.pipeline_spec import pipeline_spec_pb2
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.kubeflow.v2 import compiler_utils, kubeflow_v2_dag_runner
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils

from components.artifacts import Quarantine
from pipeline.config import load_configuration
from pipeline.kubeflow.lookups import RegistryLookups
from pipeline.kubeflow.tfx_compiler import QUARANTINE
from pipeline.pipeline import Fingerprints, Places, create_pipeline


def compiled(lookups=None):
    pipeline = create_pipeline(
        load_configuration(),
        data="/data",
        fingerprints=Fingerprints(data="", encoder=""),
        places=Places("/runs", "/models", metadata_store_pb2.ConnectionConfig()),
        lookups=lookups,
    )
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True)
    with mock.patch.object(Quarantine, "TYPE_NAME", QUARANTINE):
        kubeflow_v2_dag_runner.KubeflowV2DagRunner(config).run(pipeline, write_out=False)


def test_the_compiler_refuses_infra_validators():
    with pytest.raises(NotImplementedError, match="EmbeddedInfraValidator"):
        compiled(RegistryLookups(registry="/registry", pushed_to="/models"))


def test_the_compiler_refuses_strategies_of_our_own():
    with pytest.raises(TypeError, match="LastPushedStatisticsStrategy"):
        compiled()


def test_the_compiler_refuses_type_names_with_two_dots():
    with pytest.raises(ValueError, match=r"components\.artifacts\.Quarantine"):
        compiler_utils.get_artifact_schema(Quarantine)


def test_the_entry_point_dies_of_an_input_without_a_type():
    given = pipeline_spec_pb2.RuntimeArtifact(uri="/runs")
    given.type.instance_schema = ""
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'get'"):
        kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(
            {"model": pipeline_spec_pb2.ArtifactList(artifacts=[given])}
        )
