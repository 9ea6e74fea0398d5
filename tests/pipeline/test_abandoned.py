"""What a killed run left in a root goes with the next one."""

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata_store import open_store
from pipeline.abandoned import clear_abandoned
from pipeline.layout import artifacts_folder, metadata_file

RUNNING, COMPLETE = mlmd.Execution.RUNNING, mlmd.Execution.COMPLETE


def begin(store, state):
    """The id of an execution."""
    kind = store.put_execution_type(mlmd.ExecutionType(name="Trainer"))
    [number] = store.put_executions([mlmd.Execution(type_id=kind, last_known_state=state)])
    return number


def test_a_root_without_a_run_has_nothing_to_clear_and_is_not_touched(tmp_path):
    assert clear_abandoned(tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_what_never_ended_is_canceled_and_its_half_written_folders_are_removed(tmp_path):
    store = open_store(metadata_file(tmp_path))
    ended, killed = begin(store, COMPLETE), begin(store, RUNNING)
    node = artifacts_folder(tmp_path) / "TwoTowerTrainer"
    places = [node / "model", node / ".system" / "executor_execution"]
    for place in places:
        for number in (ended, killed):
            (place / str(number)).mkdir(parents=True)
            (place / str(number) / "weights").write_bytes(b"half")
    assert clear_abandoned(tmp_path) == 1
    for place in places:
        assert [path.name for path in place.iterdir()] == [str(ended)]
    states = {e.id: e.last_known_state for e in store.get_executions()}
    assert states == {ended: COMPLETE, killed: mlmd.Execution.CANCELED}
    assert clear_abandoned(tmp_path) == 0
