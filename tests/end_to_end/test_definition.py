"""The graph as it is defined: building it does nothing but build it."""

import json
import os
from pathlib import Path

import pytest
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler

from components.push_terms import PushTerms
from models.digests import file_digest
from models.errors import BadInput
from pipeline.config import load_configuration
from pipeline.kubeflow.compiling import compile_pipeline
from pipeline.lanes import SCHEMAS
from pipeline.pipeline import Fingerprints, Places, create_pipeline
from pipeline.runner import define_pipeline
from tests.components.ingestion.helpers import write_shop
from tests.tiny_bert import LAYERS, write_tiny_bert

# In a topological order; what stands later never feeds what stands earlier.
NODES = [
    "DataFolderExampleGen",
    "PreviousStatisticsCatalogue",
    "PreviousStatisticsInteractions",
    "SchemaCatalogue",
    "SchemaInteractions",
    "ServedModel",
    "StatisticsCatalogue",
    "StatisticsInteractions",
    "DriftValidatorCatalogue",
    "DriftValidatorInteractions",
    "SkewValidatorInteractions",
    "ValidatorCatalogue",
    "ValidatorInteractions",
    "TransformCatalogue",
    "TransformInteractions",
    "TwoTowerTrainer",
    "EmbeddedInfraValidator",
    "Evaluator",
    "AtomicPusher",
]


def compiled(folder, *settings, by_span=False):
    # Not TFX's helper, which makes the folder of the database.
    metadata = metadata_store_pb2.ConnectionConfig()
    metadata.sqlite.filename_uri = str(folder / "root" / "metadata.sqlite")
    pipeline = create_pipeline(
        load_configuration(None, [f"encoder.name={folder / 'bert'}", *settings]),
        data=str(folder / "data"),
        fingerprints=Fingerprints(data="d" * 64, encoder="e" * 64),
        places=Places(
            artifacts=str(folder / "root" / "artifacts"),
            serving=str(folder / "root" / "serving"),
            metadata=metadata,
        ),
        by_span=by_span,
    )
    return compiler.Compiler().compile(pipeline)


def described(ir):
    """The IR without the order of its maps, and with lists of JSON text read."""
    return json.loads(json_format.MessageToJson(ir, sort_keys=True))


def everything_below(folder):
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(Path(folder).rglob("*"))
    }


@pytest.fixture
def folder(tmp_path):
    """Nothing that a run needs lies there but the encoder: data is not looked at."""
    write_tiny_bert(tmp_path / "bert")
    return tmp_path


def test_building_twice_gives_the_same_graph_and_touches_no_file(folder, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before, environment = everything_below(folder), dict(os.environ)
    first, second = compiled(folder), compiled(folder)
    assert described(first) == described(second)
    assert everything_below(folder) == before and dict(os.environ) == environment


def names(ir):
    return [node.pipeline_node.node_info.id for node in ir.nodes]


def test_nodes_and_their_order(folder):
    assert names(compiled(folder)) == NODES


def test_training_goes_on_from_an_older_span_s_model_unless_it_is_to_start_fresh(folder):
    warm = compiled(folder, by_span=True)
    assert set(names(warm)) == {*NODES, "ServedModelOfOlderSpan"}
    assert names(compiled(folder, "continual.start=fresh", by_span=True)) == NODES
    [trainer] = [
        node.pipeline_node
        for node in warm.nodes
        if node.pipeline_node.node_info.id == "TwoTowerTrainer"
    ]
    assert "ServedModelOfOlderSpan" in trainer.upstream_nodes
    assert "base_model" in trainer.inputs.inputs


def test_computing_waits_for_every_validator(folder):
    upstream = {
        node.pipeline_node.node_info.id: set(node.pipeline_node.upstream_nodes)
        for node in compiled(folder).nodes
    }
    validators = {node for node in NODES if "Validator" in node} - {"EmbeddedInfraValidator"}
    for transform in ("TransformCatalogue", "TransformInteractions"):
        assert validators <= upstream[transform]
    assert {"Evaluator", "EmbeddedInfraValidator"} <= upstream["AtomicPusher"]
    assert "ServedModel" in upstream["Evaluator"]


def parameter(ir, node, name):
    [found] = [
        one.pipeline_node.parameters.parameters[name].field_value.string_value
        for one in ir.nodes
        if one.pipeline_node.node_info.id == node
    ]
    return found


def test_the_cache_knows_a_schema_by_its_content(folder):
    ir = compiled(folder)
    for lane in ("Catalogue", "Interactions"):
        found = parameter(ir, f"Schema{lane}", "fingerprint")
        assert found == file_digest(SCHEMAS / f"{lane.lower()}.pbtxt")


@pytest.mark.parametrize(("keep", "canary"), [(3, True), (7, False)])
def test_the_pusher_pushes_as_the_configuration_says(folder, keep, canary):
    ir = compiled(folder, f"push.keep={keep}", f"push.canary={str(canary).lower()}")
    terms = PushTerms(**json.loads(parameter(ir, "AtomicPusher", "custom_config")))
    assert (terms.keep, terms.canary) == (keep, canary)


def test_name_and_cache_are_those_of_the_configuration(folder):
    ir = compiled(folder, "run.name=night-shop", "run.enable_cache=false")
    assert ir.pipeline_info.id == "night-shop"
    assert not any(
        node.pipeline_node.execution_options.caching_options.enable_cache for node in ir.nodes
    )
    cached = compiled(folder).nodes[0].pipeline_node.execution_options.caching_options
    assert cached.enable_cache


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["encoder.trainable_layers=3"], rf"trainable_layers is 3; .* {LAYERS} layers"),
        (["encoder.trainable_layers=1", "encoder.adaptation=prefix"], "prefixes in every layer"),
        (["compression.student=layers", "compression.layers=3"], r"compression.layers is 3; "),
    ],
)
def test_layers_that_the_encoder_lacks_are_refused_before_anything_runs(folder, settings, said):
    data = write_shop(folder / "data")
    settings = [f"encoder.name={folder / 'bert'}", f"data.path={data}", *settings]
    config = load_configuration(None, settings)
    with pytest.raises(BadInput, match=said):
        define_pipeline(config, folder / "root")
    assert not (folder / "root").exists()
    with pytest.raises(BadInput, match=said):
        compile_pipeline(config, "kubeflow")
