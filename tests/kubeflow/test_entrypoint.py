"""How a task's container ends."""

import json

from pipeline.kubeflow import entrypoint


def test_an_unexpected_error_ends_with_what_the_log_of_a_task_has(
    tmp_path, capsys, caplog, monkeypatch
):
    monkeypatch.setattr("absl.logging.use_absl_handler", lambda: None)  # of all tests
    invocation = {"inputs": {}, "outputs": {"outputFile": str(tmp_path / "metadata.json")}}
    code = entrypoint.main([
        "--executor_class_path", "components.nowhere.Executor",
        "--json_serialized_invocation_args", json.dumps(invocation),
        "--json_serialized_inputs_spec_args", "{}",
    ])  # fmt: skip
    assert code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("Error: unexpected ImportError: ")
    assert last.endswith("The traceback stands above.")
    assert any(record.exc_info for record in caplog.records)
