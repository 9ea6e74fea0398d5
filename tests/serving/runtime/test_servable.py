"""What a folder that holds no good SavedModel fails with.

The texts are those of TensorFlow 2.16.2's own loader in C++ for the same damage to the same model:
`tensorflow::LoadSavedModel`, which the stock server calls.
"""

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from serving.runtime.servable import Servable
from serving.status import StatusError
from tests.serving.conformance import models as conformance

RESTORE = "\n\t [[{{node save/RestoreV2}}]]"


@pytest.fixture
def line(tmp_path):
    """Folder of version 1 of the line, a graph of the v1 kind with variables."""
    conformance.save_line(tmp_path, 1)
    return tmp_path / "1"


def failure(folder):
    with pytest.raises(StatusError) as caught:
        Servable(str(folder), model="line", version=1)
    return str(caught.value)


def change_graph(folder, change):
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0].graph_def)
    path.write_bytes(model.SerializeToString())


def test_variables_that_can_not_be_read_fail_as_in_the_runtime(line):
    data = line / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:5])
    assert failure(line) == f"OUT_OF_RANGE: Read less bytes than requested{RESTORE}"
    data.unlink()
    assert failure(line) == f"NOT_FOUND: {data}; No such file or directory{RESTORE}"
    (line / "variables" / "variables.index").write_bytes(b"z" * 64)
    assert failure(line) == f"DATA_LOSS: not an sstable (bad magic number){RESTORE}"


def test_variables_of_another_model_lack_the_first_name(line):
    def rename(graph):
        [names] = [node for node in graph.node if node.name == "save/RestoreV2/tensor_names"]
        names.attr["value"].tensor.string_val[0] = b"absent"

    change_graph(line, rename)
    assert failure(line) == f"NOT_FOUND: Key absent not found in checkpoint{RESTORE}"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda graph: graph.node.add().CopyFrom(graph.node[0]),
            "INVALID_ARGUMENT: Node '{first}' is not unique",
        ),
        (
            lambda graph: graph.node.add(name="n", op="Identity", input=["gone"]),
            "INVALID_ARGUMENT: Node 'n': Unknown input node 'gone'",
        ),
        (
            lambda graph: setattr(graph.versions, "min_consumer", 99999),
            "INVALID_ARGUMENT: GraphDef min consumer version 99999 above current version ",
        ),
        (
            lambda graph: graph.node.add(name="n", op="Absent"),
            "NOT_FOUND: Op type not registered 'Absent' in binary running on ",
        ),
    ],
    ids=["twice", "input", "later", "unknown"],
)
def test_graph_that_can_not_be_imported_fails_as_in_the_runtime(line, change, text):
    graph = saved_model_pb2.SavedModel.FromString((line / "saved_model.pb").read_bytes())
    first = graph.meta_graphs[0].graph_def.node[0].name
    change_graph(line, change)
    assert failure(line).startswith(text.format(first=first))


def test_folder_in_place_of_the_file_is_read_as_a_model_of_no_graph(line):
    (line / "saved_model.pb").unlink()
    (line / "saved_model.pb").mkdir()
    assert failure(line).startswith(
        "NOT_FOUND: Could not find meta graph def matching supplied tags: { serve }."
    )
