"""The schema of a lane, as runs in one root see it."""

import tfx.v1 as tfx

from components.schema_gen import CuratedSchemaGen
from models.digests import file_digest
from tests.end_to_end.metadata import NewestRun

NODE = "CuratedSchemaGen"


def run(root, schema):
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="schema",
        pipeline_root=str(root / "artifacts"),
        components=[CuratedSchemaGen(schema_file=str(schema), fingerprint=file_digest(schema))],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(root / "metadata.sqlite")
        ),
        enable_cache=True,
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    found = NewestRun(root)
    [folder] = found.outputs(NODE, "schema")
    return found.states[NODE], (folder / "schema.pbtxt").read_text()


def test_an_edited_schema_is_read_in_a_root_that_has_run_before(tmp_path):
    root = tmp_path / "Läden & Söhne 𠮷"  # what a folder may be called
    root.mkdir()
    schema = root / "items.pbtxt"
    schema.write_text('feature { name: "price" type: FLOAT }')
    assert run(root, schema)[0] == "COMPLETE"
    assert run(root, schema)[0] == "CACHED"
    schema.write_text('feature { name: "weight" type: FLOAT }')
    state, text = run(root, schema)
    assert state == "COMPLETE" and "weight" in text
