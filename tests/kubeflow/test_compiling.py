"""The compiled pipeline: held to KFP's messages, to the golden file, and to the configuration."""

import importlib
import json
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2

from models.errors import BadInput
from pipeline.config import load_configuration
from pipeline.kubeflow.compiling import compile_pipeline
from pipeline.kubeflow.paths import resolve
from tests.end_to_end.test_definition import NODES
from tests.kubeflow.golden import FILE, default_pipeline, kept
from tests.kubeflow.launcher import order

Deployment = pipeline_spec_pb2.PipelineDeploymentConfig
UNMEASURED = "{metric: recall_at_21, slice: overall, direction: higher, bound: 0, tolerance: null}"


@pytest.fixture(scope="module")
def documents():
    return default_pipeline()


@pytest.fixture(scope="module")
def spec(documents):
    return documents[0]


@pytest.fixture(scope="module")
def gpu_documents():
    """With every option of a task that a cluster may need."""
    config = load_configuration(Path(__file__).parent / "gpu.yaml")
    return list(yaml.safe_load_all(compile_pipeline(config, "kubeflow")))


def executors(spec):
    return {
        name: spec["deploymentSpec"]["executors"][spec["components"][name]["executorLabel"]]
        for name in spec["root"]["dag"]["tasks"]
    }


def constants(spec, task):
    parameters = spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
    return {name: value["runtimeValue"]["constant"] for name, value in parameters.items()}


def test_the_messages_of_kfp_know_every_field(documents, gpu_documents):
    for found, *_ in (documents, gpu_documents):
        json_format.ParseDict(found, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(found["deploymentSpec"], Deployment())
        assert found["schemaVersion"] == "2.1.0"


def test_kfp_s_own_sdk_loads_it(spec):
    loaded = kfp_components.load_component_from_text(yaml.safe_dump(spec))
    assert loaded.pipeline_spec.pipeline_info.name == "debut"


def test_the_compiled_pipeline_is_the_golden_one(documents):
    """Where the change is meant: python -m tests.kubeflow.golden."""
    assert kept(documents) == FILE.read_text(encoding="utf-8")


def test_the_tasks_are_the_nodes_of_the_local_graph_and_a_registration(spec):
    assert set(order(spec)) == {*NODES, "Registration"}


def test_each_task_is_a_container_with_an_executor_that_can_be_imported(spec):
    for name, executor in executors(spec).items():
        assert list(executor) == ["container"], name
        container = executor["container"]
        assert container["command"] == ["python", "-m", "pipeline.kubeflow.entrypoint"]
        assert "lifecycle" not in container, "open-source KFP would never run it"
        assert container["args"].count("{{$}}") == 1
        module, _, attribute = container["args"][1].rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_each_container_is_told_the_definitions_of_its_inputs(spec):
    for name, executor in executors(spec).items():
        arguments = executor["container"]["args"]
        told = arguments[arguments.index("--json_serialized_inputs_spec_args") + 1]
        assert json.loads(told) == spec["components"][name].get("inputDefinitions", {})


def test_every_input_comes_from_an_output_that_is_there(spec):
    tasks = spec["root"]["dag"]["tasks"]
    for task in tasks.values():
        for source in task.get("inputs", {}).get("artifacts", {}).values():
            producer = source["taskOutputArtifact"]
            component = spec["components"][tasks[producer["producerTask"]]["componentRef"]["name"]]
            assert producer["outputArtifactKey"] in component["outputDefinitions"]["artifacts"]


def test_every_artifact_type_has_a_name_that_vertex_takes_and_the_container_can_import(spec):
    titles = {
        yaml.safe_load(declared["artifactType"]["instanceSchema"])["title"]
        for component in spec["components"].values()
        for side in ("inputDefinitions", "outputDefinitions")
        for declared in component.get(side, {}).get("artifacts", {}).values()
    }
    own = {title for title in titles if not title.startswith("tfx.")}
    assert own == {"components.Quarantine"}
    from components.artifacts import Quarantine

    assert importlib.import_module("components").Quarantine is Quarantine


def test_what_ships_with_the_code_is_found_wherever_the_code_lies(spec):
    for lane in ("Catalogue", "Interactions"):
        name = constants(spec, f"Schema{lane}")["schema_file"]
        assert name.startswith("image://") and Path(resolve(name)).is_file()
    assert resolve(constants(spec, "DataFolderExampleGen")["data"]).endswith("online_retail")
    assert resolve("/models/shop") == "/models/shop"


def test_only_what_depends_on_nothing_but_its_inputs_is_cached(spec):
    cached = {
        name
        for name, task in spec["root"]["dag"]["tasks"].items()
        if task.get("cachingOptions", {}).get("enableCache")
    }
    assert set(NODES) - cached == {
        "DataFolderExampleGen",
        "PreviousStatisticsCatalogue",
        "PreviousStatisticsInteractions",
        "ServedModel",
        "AtomicPusher",
    }
    assert "Registration" not in cached


def test_what_judges_is_not_tried_again(spec):
    tried = {name for name, task in spec["root"]["dag"]["tasks"].items() if "retryPolicy" in task}
    judges = {name for name in NODES if "Validator" in name} - {"EmbeddedInfraValidator"}
    assert {*NODES, "Registration"} - tried == judges
    assert spec["root"]["dag"]["tasks"]["AtomicPusher"]["retryPolicy"] == {
        "maxRetryCount": 2, "backoffDuration": "60s", "backoffFactor": 2.0,
    }  # fmt: skip


def test_resources_caching_and_retries_are_those_of_the_configuration(gpu_documents):
    found = gpu_documents[0]
    deployment = json_format.ParseDict(found["deploymentSpec"], Deployment())
    trainer = deployment.executors["TwoTowerTrainer_executor"].container.resources
    assert (trainer.cpu_limit, trainer.memory_limit) == (8, 32.5)
    assert (trainer.accelerator.type, trainer.accelerator.count) == ("nvidia.com/gpu", 2)
    other = deployment.executors["Evaluator_executor"].container.resources
    assert (other.cpu_limit, other.memory_limit) == (1, 4)
    assert not other.HasField("accelerator")
    tasks = found["root"]["dag"]["tasks"]
    assert "retryPolicy" not in tasks["TwoTowerTrainer"]
    assert tasks["Evaluator"]["retryPolicy"]["maxRetryCount"] == 1
    assert tasks["Evaluator"]["retryPolicy"]["backoffDuration"] == "30s"
    assert tasks["DataFolderExampleGen"]["cachingOptions"] == {"enableCache": True}
    assert "cachingOptions" not in tasks["Evaluator"]


def test_nodes_and_volumes_are_in_the_part_for_kubernetes(gpu_documents):
    _, platform = gpu_documents
    by_executor = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mount = [{"constant": "shop", "mountPath": "/mnt/shop"}]
    assert all(found["pvcMount"] == mount for found in by_executor.values())
    assert set(by_executor) == {f"{name}_executor" for name in executors(gpu_documents[0])}
    trainer = by_executor["TwoTowerTrainer_executor"]
    assert trainer["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert trainer["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert list(by_executor["Evaluator_executor"]) == ["pvcMount"]


def test_image_root_data_and_places_are_those_of_the_configuration(gpu_documents):
    found = gpu_documents[0]
    assert {e["container"]["image"] for e in executors(found).values()} == {
        "registry.example/debut:7"
    }
    assert found["defaultPipelineRoot"] == "s3://bucket/debut"
    assert constants(found, "DataFolderExampleGen")["data"] == "/mnt/shop/data"
    destination = json.loads(constants(found, "AtomicPusher")["push_destination"])
    assert destination["filesystem"]["base_directory"] == "/mnt/shop/debut"
    for task in ("ServedModel", "Registration", "PreviousStatisticsCatalogue"):
        places = constants(found, task)
        assert (places["registry"], places["pushed_to"]) == (
            "/mnt/shop/registry",
            "/mnt/shop/debut",
        )


def test_with_spans_training_goes_on_from_a_model_of_the_registry(gpu_documents):
    tasks = gpu_documents[0]["root"]["dag"]["tasks"]
    source = tasks["TwoTowerTrainer"]["inputs"]["artifacts"]["base_model"]["taskOutputArtifact"]
    assert source == {"producerTask": "ServedModelOfOlderSpan", "outputArtifactKey": "model"}
    assert "examples" in tasks["ServedModelOfOlderSpan"]["inputs"]["artifacts"]
    assert "cachingOptions" not in tasks["ServedModelOfOlderSpan"]


def test_the_rules_of_this_machine_are_in_what_the_trainer_gets(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("block:\n  items: ['00042']\n")
    config = load_configuration(None, [f"rules.file={file}"])
    [found, _] = yaml.safe_load_all(compile_pipeline(config, "kubeflow"))
    options = json.loads(constants(found, "TwoTowerTrainer")["custom_config"])["options"]
    assert "00042" in json.dumps(options["rules"])


def test_without_the_cache_of_runs_nothing_is_cached():
    config = load_configuration(None, ["run.enable_cache=false"])
    [found, _] = yaml.safe_load_all(compile_pipeline(config, "kubeflow"))
    assert not [t for t in found["root"]["dag"]["tasks"].values() if "cachingOptions" in t]


def test_vertex_gets_a_job_as_json_with_the_same_graph(spec):
    settings = ["kubeflow.pipeline_root=gs://bucket/runs", "kubeflow.mount=/gcs/bucket/models"]
    job = json.loads(compile_pipeline(load_configuration(None, settings), "vertex"))
    message = json_format.ParseDict(job, pipeline_spec_pb2.PipelineJob())
    assert message.runtime_config.gcs_output_directory == "gs://bucket/runs"
    assert job["pipelineSpec"]["root"]["dag"]["tasks"].keys() == spec["root"]["dag"]["tasks"].keys()
    places = constants(job["pipelineSpec"], "Registration")
    assert places["pushed_to"] == "/gcs/bucket/models/debut"


@pytest.mark.parametrize(
    ("settings", "runner", "message"),
    [
        ([], "vertex", "kubeflow.pipeline_root"),
        (["kubeflow.pipeline_root=gs://b/runs"], "vertex", "kubeflow.mount"),
        (["kubeflow.tasks=[{task: Trainer, cpu: 2}]"], "kubeflow", "no task 'Trainer'"),
        (["kubeflow.tasks=[{task: all}, {task: all}]"], "kubeflow", "names 'all' twice"),
        (
            ["run.beam_runner=flink", "run.beam_args=[--flink_master=flink:8081]"],
            "kubeflow",
            "'flink', whose workers are other machines",
        ),
        (
            [f"gates.model=[{UNMEASURED}]"],
            "kubeflow",
            "recall_at_21",
        ),
    ],
)
def test_what_a_cluster_could_not_run_is_refused(settings, runner, message):
    with pytest.raises(BadInput, match=message):
        compile_pipeline(load_configuration(None, settings), runner)


def test_rules_that_no_container_takes_as_an_argument_are_refused(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"block": {"items": [f"{i:06}" for i in range(12_000)]}}))
    with pytest.raises(BadInput, match=r"task TwoTowerTrainer has 1\d\d,\d{3} bytes.*rules\.file"):
        compile_pipeline(load_configuration(None, [f"rules.file={file}"]), "kubeflow")


def test_beam_starts_as_many_workers_as_a_task_has_cores():
    settings = ["run.beam_runner=multi_process", "kubeflow.tasks=[{task: Evaluator, cpu: 2.5}]"]
    [found, _] = yaml.safe_load_all(
        compile_pipeline(load_configuration(None, settings), "kubeflow")
    )
    workers = {
        name: [
            argument.removeprefix("--direct_num_workers=")
            for argument in executor["container"]["args"]
            if argument.startswith("--direct_num_workers=")
        ]
        for name, executor in executors(found).items()
    }
    assert workers.pop("Evaluator") == ["3"]
    assert set(map(tuple, workers.values())) == {("0",)}


def test_a_number_of_accelerators_needs_their_kind():
    with pytest.raises(BadInput, match="accelerators of all needs accelerator"):
        load_configuration(None, ["kubeflow.tasks=[{task: all, accelerators: 2}]"])


def test_a_plain_path_is_no_pipeline_root():
    with pytest.raises(BadInput, match=r"kubeflow\.pipeline_root"):
        load_configuration(None, ["kubeflow.pipeline_root=/srv/runs"])
