"""The server as a process: start, failure to start, ready, drained."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf

from serving import flags
from serving.main import main
from serving.ports import free_port
from serving.server import ModelServer
from serving.status import StatusError
from tests.processes import running
from tests.serving.conftest import accepts, endpoint, wait_until
from tests.serving.saved_models import (
    Held,
    float_request,
    predict_record,
    save_scale,
    write_config,
    write_warm_up,
)


def run(*arguments, program=("-m", "serving.main")):
    """Runs the server until it ends by itself; returns exit code and standard output."""
    ended = subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout


def start(*arguments, log=None):
    """Starts a server process; its standard output is captured."""
    command = [sys.executable, "-m", "serving.main", *arguments]
    return running(command, stdout=subprocess.PIPE, stderr=log, text=True)


def test_value_that_does_not_fit_prints_the_usage():
    code, text = run("--port=x")
    assert code == 255
    assert text.startswith("Couldn't interpret value x for flag port.\nusage: main.py\nFlags:\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--port=1", "--help"], ["--help", "--nope"]])
def test_help_prints_the_usage_alone_and_ends_as_the_stock_server_does(arguments, capsys):
    assert main(arguments) == 255
    assert capsys.readouterr().out == flags.usage(Path(sys.argv[0]).name)


# The server, which says at its end how often all objects were looked at for garbage.
COLLECTING = """
import atexit, gc, runpy
full = []
gc.callbacks.append(lambda phase, seen: full.append(phase) if seen["generation"] == 2 else None)
atexit.register(lambda: print(f"full collections: {len(full)}, enabled: {gc.isenabled()}"))
runpy.run_module("serving.main", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def nothing_to_serve():
    """Exit code and standard output of a start with a flag that is unknown and without a model."""
    return run("--helpfull", "--help", program=("-c", COLLECTING))


def test_unknown_flag_is_named_before_the_usage_and_the_start_goes_on(nothing_to_serve):
    code, text = nothing_to_serve
    assert code == 255  # as nothing is to be served
    assert text.startswith("unknown argument: --helpfull\nusage: main.py\nFlags:\n")
    assert "Failed to start server. Error: INVALID_ARGUMENT: Both" in text


def test_what_libraries_make_of_themselves_is_never_looked_through_for_garbage(nothing_to_serve):
    _, text = nothing_to_serve
    assert text.splitlines()[-1] == "full collections: 0, enabled: True"


def test_version_is_printed_whatever_else_is_asked(capsys):
    assert main(["--nope", "--version", "--port=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["TensorFlow ModelServer: debut", f"TensorFlow Library: {tf.__version__}"]


def test_missing_feature_ends_the_start_and_names_the_flag(models):
    code, text = run(f"--model_base_path={models / 'scale'}", "--prefer_tflite_model")
    assert code == 255
    assert "UNIMPLEMENTED: --prefer_tflite_model" in text


def test_model_that_can_not_be_loaded_ends_the_start(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff" * 50)
    code, text = run(f"--model_base_path={tmp_path}", "--max_num_load_retries=0")
    assert code == 255
    assert text == (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available:"
        " {{{name: default version: 1} due to error: OUT_OF_RANGE: Read less bytes than"
        " requested}, }\n"
    )


def test_sigterm_finishes_the_request_in_flight_and_ends_with_0(models, tmp_path):
    port, socket_path = free_port(), tmp_path / "grpc.sock"
    arguments = [
        f"--port={port}",
        f"--grpc_socket_path={socket_path}",
        "--model_name=probe",
        f"--model_base_path={models / 'probe'}",
        "--nope=1",
    ]
    with start(*arguments) as process, endpoint(port) as server:
        with grpc.insecure_channel(f"unix:{socket_path}") as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        held = Held(server, tmp_path)
        process.send_signal(signal.SIGTERM)
        while accepts(port):
            time.sleep(0.05)
        assert held.let_go().model_spec.version.value == 1
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert output.startswith("unknown argument: --nope=1\nusage: main.py")


def test_the_log_of_a_start_says_nothing_of_what_libraries_deprecate(tmp_path):
    save_scale(str(tmp_path / "scale"), 1, 10)
    write_warm_up(str(tmp_path / "scale" / "1"), [predict_record(float_request([1.0]))])
    port, log = free_port(), tmp_path / "log"
    arguments = [f"--port={port}", f"--model_base_path={tmp_path / 'scale'}"]
    with log.open("w") as file, start(*arguments, log=file) as process:
        while not accepts(port):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    text = log.read_text()
    assert "Number of warmup records read: 1" in text
    assert "deprecated" not in text and "Warning: You" not in text


def test_signal_while_waiting_for_a_first_version_ends_with_0(tmp_path):
    # It has asked before whether to stop, and asks once more.
    code = (
        "import sys\n"
        "from serving import main\n"
        "from serving.versions.served_model import ServedModel\n"
        "wait = ServedModel.wait_until_settled\n"
        "def told(*arguments):\n"
        "    print('waits', flush=True)\n"
        "    return wait(*arguments)\n"
        "ServedModel.wait_until_settled = told\n"
        "sys.exit(main.main())\n"
    )
    command = [sys.executable, "-c", code]
    flags = [f"--model_base_path={tmp_path}", f"--port={free_port()}"]
    with running([*command, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["waits\n"] * 2
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_signal_in_the_midst_of_the_wait_for_it_ends_with_0(models):
    # The worst moment made certain: the main thread holds the lock of the event it waits for.
    code = (
        "import os, signal, sys, threading\n"
        "from serving import main, server\n"
        "start, wait = server.ModelServer.start, threading.Condition.wait\n"
        "def interrupted(self, timeout=None):\n"
        "    if threading.current_thread() is threading.main_thread():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return wait(self, timeout)\n"
        "def started(self):\n"
        "    start(self)\n"
        "    threading.Condition.wait = interrupted\n"
        "server.ModelServer.start = started\n"
        "sys.exit(main.main())\n"
    )
    flags = [f"--port={free_port()}", f"--model_base_path={models / 'probe'}"]
    with running([sys.executable, "-c", code, *flags]) as process:
        assert process.wait(120) == 0


def test_config_file_is_polled(start_server, models, tmp_path, caplog):
    config = tmp_path / "models.config"

    def write(*names):
        beside = write_config(tmp_path / "beside", {name: models / name for name in names})
        beside.rename(config)

    write("scale")
    server = start_server(
        f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1"
    )
    # A file that is no text is refused, and the next one is read all the same.
    (tmp_path / "broken").write_bytes(b"\xff\xfe")
    (tmp_path / "broken").rename(config)
    wait_until(lambda: "Invalid protobuf file" in caplog.text, "the file is refused")
    write("scale", "probe")
    server.wait_for("probe", 1, "AVAILABLE")
    assert server.states("scale")[3][0] == "AVAILABLE"


def refusal(*arguments):
    with pytest.raises(StatusError) as caught:
        ModelServer(flags.parse(arguments), threading.Event()).start()
    return str(caught.value)


def test_start_without_a_model_or_a_port_is_refused():
    assert refusal() == (
        "INVALID_ARGUMENT: Both server_options.model_base_path and"
        " server_options.model_config_file are empty!"
    )
    assert refusal("--port=0", "--model_base_path=/x").startswith(
        "INVALID_ARGUMENT: At least one of server_options.grpc_port or"
    )


@pytest.mark.parametrize("threads", [0, -1])
def test_start_without_a_thread_for_requests_is_refused(threads):
    assert refusal(f"--grpc_max_threads={threads}", "--model_base_path=/x") == (
        "INVALID_ARGUMENT: server_options.grpc_max_threads must be at least 1."
    )


@pytest.mark.parametrize("port", [99_999, -1])
def test_number_that_is_no_port_leaves_rest_out(start_server, models, caplog, port):
    server = start_server(
        "--model_name=scale", f"--model_base_path={models / 'scale'}", f"--rest_api_port={port}"
    )
    assert f"Failed to start HTTP Server at port {port}: " in caplog.text
    assert server.prediction.Predict(float_request([1.0]), timeout=30).outputs["y"].float_val


def test_config_file_that_can_not_be_used_is_refused(tmp_path):
    path = tmp_path / "models.config"
    flag = f"--model_config_file={path}"
    assert refusal(flag) == f"NOT_FOUND: {path}; No such file or directory"
    path.write_text("")
    assert refusal(flag) == f"INVALID_ARGUMENT: {path}; Invalid argument"
    path.write_text('model_config_list { config { nme: "x" } }')
    assert refusal(flag) == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"
    path.write_bytes(b"\xff\xfe")
    assert refusal(flag) == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"
    path.write_bytes(b"# caf\xe9\nmodel_config_list { config { base_path: 'x' } }")
    assert "absolute path" in refusal(flag)


def test_config_file_that_can_not_be_read_is_refused_with_the_code_of_the_reason(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, reason in (
        (tmp_path, "NOT_FOUND: {}; No such device"),  # what mapping a folder fails with
        (tmp_path / "file" / "x", "FAILED_PRECONDITION: {}; Not a directory"),
        (tmp_path / ("x" * 300), "INVALID_ARGUMENT: {}; File name too long"),
    ):
        assert refusal(f"--model_config_file={path}") == reason.format(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [  # as C++ has it of the same text; the first is recorded of the stock server
        (
            'model_config_list { config { nme: "x" } }',
            '1:33: Message type "tensorflow.serving.ModelConfig" has no field named "nme".',
        ),
        (
            "model_config_list {\n  config { nme # no field\n {} } }",
            '3:2: Message type "tensorflow.serving.ModelConfig" has no field named "nme".',
        ),
        ("model_config_list { } }", "1:23: Expected identifier, got: }"),
        ("// no comment", "1:1: Expected identifier, got: /"),
        (
            'model_config_list { config { version_labels { key: "a" value: 2.0 } } }',
            "1:63: Expected integer, got: 2.0",
        ),
    ],
    ids=["field", "next line", "brace", "slash", "number"],
)
def test_text_that_does_not_parse_is_told_where_in_the_log(tmp_path, caplog, text, told):
    """The stock server's own integration test looks for the line."""
    path = tmp_path / "models.config"
    path.write_text(text)
    refusal(f"--model_config_file={path}")
    name = "tensorflow.serving.ModelServerConfig"
    assert caplog.messages == [f"Error parsing text-format {name}: {told}"]


def test_two_servers_can_not_share_a_port(start_server, models):
    server = start_server(f"--model_base_path={models / 'scale'}")
    text = refusal(
        f"--model_base_path={models / 'scale'}",
        "--bind_address=127.0.0.1",
        f"--port={server.grpc_port}",
    )
    assert text.startswith("INVALID_ARGUMENT: Failed to BuildAndStart gRPC server")
