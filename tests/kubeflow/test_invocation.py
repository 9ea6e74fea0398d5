"""What the launcher hands over, as executors take it, and what it takes back."""

import json

import pytest

from components.object_stores import MOUNTS, local_path, remote_uri
from pipeline.kubeflow.invocation import from_executor, to_executor

MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
DEFINITIONS = {"artifacts": {"model": {"artifactType": MODEL}}}


def invocation(*, inputs=(), parameters=None, outputs=None):
    return {
        "inputs": {
            "artifacts": {"model": {"artifacts": list(inputs)}},
            "parameterValues": parameters or {},
        },
        "outputs": {"artifacts": outputs or {}, "outputFile": "/tmp/kfp/outputs/metadata.json"},
    }


def only_input(prepared):
    [artifact] = prepared["inputs"]["artifacts"]["model"]["artifacts"]
    return artifact


@pytest.mark.parametrize("kind", [{"instanceSchema": ""}, {}])
def test_an_input_without_a_type_gets_that_of_the_definition(kind):
    given = {"name": "7", "uri": "s3://b/k", "type": kind, "metadata": {}}
    assert only_input(to_executor(invocation(inputs=[given]), DEFINITIONS))["type"] == MODEL


def test_an_input_with_a_type_keeps_it():
    given = {"uri": "s3://b/k", "type": {"schemaTitle": "tfx.PushedModel"}}
    found = only_input(to_executor(invocation(inputs=[given]), DEFINITIONS))
    assert found["type"] == {"schemaTitle": "tfx.PushedModel"}


def test_what_was_not_found_is_no_input():
    given = {"uri": "s3://b/k", "type": {}, "metadata": {"absent": 1.0}}
    prepared = to_executor(invocation(inputs=[given]), DEFINITIONS)
    assert prepared["inputs"]["artifacts"] == {"model": {"artifacts": []}}


def test_structs_and_lists_of_the_metadata_are_taken_out_of_their_wraps():
    metadata = {"a": {"struct": {"x": 1}}, "b": {"list": [1]}, "c": "text", "d": {"x": 1, "y": 2}}
    given = {"uri": "s3://b/k", "metadata": metadata}
    found = only_input(to_executor(invocation(inputs=[given]), DEFINITIONS))
    assert found["metadata"] == {"a": {"x": 1}, "b": [1], "c": "text", "d": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/minio/bucket/a/b"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("/models/debut", "/models/debut"),
        ("image://data", "image://data"),
    ],
)
def test_uris_of_object_stores_are_paths_below_their_mounts_and_back(uri, path, monkeypatch):
    monkeypatch.delenv(MOUNTS, raising=False)
    assert local_path(uri) == path
    assert remote_uri(path) == uri
    monkeypatch.setenv(MOUNTS, "/disk/")
    assert remote_uri(local_path(uri)) == uri


def test_inputs_outputs_and_the_output_file_are_mapped():
    given = invocation(
        inputs=[{"uri": "gs://b/in"}],
        outputs={"blessing": {"artifacts": [{"uri": "gs://b/out", "type": MODEL}]}},
    )
    given["outputs"]["outputFile"] = "gs://b/file.json"
    prepared = to_executor(given, DEFINITIONS)
    assert only_input(prepared)["uri"] == "/gcs/b/in"
    assert prepared["outputs"]["artifacts"]["blessing"]["artifacts"][0]["uri"] == "/gcs/b/out"
    assert prepared["outputs"]["outputFile"] == "/gcs/b/file.json"
    assert given["outputs"]["outputFile"] == "gs://b/file.json", "the given one is left alone"


def test_the_launcher_s_own_log_is_no_output():
    logs = {"artifacts": [{"uri": "s3://b/l", "type": {"schemaTitle": "system.Artifact"}}]}
    prepared = to_executor(invocation(outputs={"executor-logs": logs}), DEFINITIONS)
    assert prepared["outputs"]["artifacts"] == {}


def test_uris_leave_a_task_in_the_remote_form_and_nulls_do_not():
    told = {"uri": "/s3/b/m", "metadata": {"of": "/s3/b/n", "text": "s", "n": 1.0, "none": None}}
    found = from_executor({"artifacts": {"blessing": {"artifacts": [told]}}})
    assert found == {
        "artifacts": {
            "blessing": {
                "artifacts": [
                    {"uri": "s3://b/m", "metadata": {"of": "s3://b/n", "text": "s", "n": 1.0}}
                ]
            }
        }
    }
    json.dumps(found)
