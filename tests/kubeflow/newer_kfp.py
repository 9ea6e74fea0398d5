"""A second opinion on a compiled pipeline, by a `kfp` that can't live beside TFX (`make test-kfp`).

`.venv-kfp/bin/python -m tests.kubeflow.newer_kfp FILE`, in an environment without Debut.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb2
from kfp.pipeline_spec import pipeline_spec_pb2


def check(file: Path) -> str:
    """Read the file by kfp's own loader and messages; what it does not know is an error."""
    spec, platform = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in executors.values():
        json_format.ParseDict(executor, kubernetes_pb2.KubernetesExecutorConfig())
    assert set(executors) <= set(spec["deploymentSpec"]["executors"])
    loaded = components.load_component_from_file(str(file))
    assert json_format.MessageToDict(loaded.platform_spec)["platforms"].keys() == {"kubernetes"}
    tasks = loaded.pipeline_spec.root.dag.tasks
    assert len(tasks) == len(spec["root"]["dag"]["tasks"])
    return f"kfp {version('kfp')} reads {len(tasks)} tasks and {len(executors)} pods in {file}"


if __name__ == "__main__":
    print(check(Path(sys.argv[1])))
