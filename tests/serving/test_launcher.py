import os
import re
import signal
import socket
import stat
import subprocess
import sys
from typing import Any

import psutil
import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2

from models.errors import BadInput
from serving import launcher, session_config
from serving.addresses import family_of
from serving.client import Client
from serving.ports import free_port
from tests.processes import running
from tests.serving.ipv6 import NEEDS_IPV6

ARGUMENTS: dict[str, Any] = {
    "base_path": "/data/serving/debut",
    "model_name": "debut",
    "host": "127.0.0.1",
    "grpc_port": 8500,
    "rest_port": 8501,
}
SESSIONS = f"--tensorflow_session_config_file={session_config.FILE}"
STOCK = [
    "--port=8500",
    "--rest_api_port=8501",
    SESSIONS,
    "--model_name=debut",
    "--model_base_path=/data/serving/debut",
]


def executable(folder, name, script="exit 0"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_binary_gets_the_stock_flags():
    assert launcher.command("binary", **ARGUMENTS) == ["tensorflow_model_server", *STOCK]


def test_embedded_server_gets_the_same_and_its_address():
    assert launcher.command("embedded", **ARGUMENTS) == [
        sys.executable, "-m", "serving.main", *STOCK, "--bind_address=127.0.0.1",
    ]  # fmt: skip


@pytest.mark.parametrize(("host", "published"), [("::1", "[::1]"), ("0.0.0.0", "0.0.0.0")])
def test_docker_publishes_on_the_address_that_is_given(host, published):
    line = launcher.command("docker", **ARGUMENTS | {"host": host})
    assert {f"--publish={published}:8500:8500", f"--publish={published}:8501:8501"} < {*line}


def test_docker_publishes_on_the_host_only_and_mounts_read_only():
    assert launcher.command("docker", **ARGUMENTS | {"grpc_port": 9000}) == [
        "docker", "run", "--rm", "--init",
        "--publish=127.0.0.1:9000:8500", "--publish=127.0.0.1:8501:8501",
        "--volume=/data/serving/debut:/models/debut:ro",
        f"--volume={session_config.FILE}:/config/session.config:ro",
        "--entrypoint=tensorflow_model_server", "tensorflow/serving:2.16.1",
        "--port=8500", "--rest_api_port=8501",
        "--tensorflow_session_config_file=/config/session.config",
        "--model_name=debut", "--model_base_path=/models/debut",
    ]  # fmt: skip


LABELLED = [
    "--model_config_file=/data/serving/models.config",
    "--model_config_file_poll_wait_seconds=1",
    "--allow_version_labels_for_unavailable_models=true",
]


@pytest.mark.parametrize("engine", ["binary", "docker", "embedded"])
def test_a_configuration_with_labels_takes_the_place_of_the_folder(engine):
    line = launcher.command(
        engine, **ARGUMENTS, model_config="/data/serving/models.config"
    )  # fmt: skip
    at = line.index(LABELLED[0])
    assert line[at : at + len(LABELLED)] == LABELLED
    assert not any("model_base_path" in argument for argument in line)
    # The file names the versions' folder by its path on this machine.
    mounts = [argument for argument in line if argument.startswith("--volume=/data")]
    assert mounts == (["--volume=/data/serving:/data/serving:ro"] if engine == "docker" else [])


def test_the_session_file_is_a_config_of_the_runtime():
    config = text_format.Parse(session_config.FILE.read_text(), config_pb2.ConfigProto())
    rewriting = config.graph_options.rewrite_options
    assert rewriting.function_optimization == rewriting.DEFAULT  # calls are still inlined
    assert rewriting.constant_folding == rewriting.OFF


def test_rest_can_be_left_out():
    line = launcher.command("docker", **ARGUMENTS | {"rest_port": 0})
    assert "--rest_api_port=0" in line
    assert not any(":8501" in argument for argument in line)


def test_every_flag_is_one_the_embedded_server_takes():
    from serving import flags

    parsed = flags.parse(launcher.command("embedded", **ARGUMENTS)[3:])
    assert not parsed.unknown and not parsed.lacking


def test_auto_prefers_the_binary_then_docker_then_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launcher.choose("auto") == "embedded"
    executable(tmp_path, "docker", "exit 1")
    assert launcher.choose("auto") == "embedded"  # installed, but no daemon answers
    executable(tmp_path, "docker")
    assert launcher.choose("auto") == "docker"
    executable(tmp_path, "tensorflow_model_server")
    assert launcher.choose("auto") == "binary"
    assert launcher.choose("embedded") == "embedded"


@pytest.mark.parametrize("engine", ["binary", "docker", "warp"])
def test_engine_that_is_not_here_is_refused_with_what_to_do(tmp_path, monkeypatch, engine):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"embedded"):
        launcher.choose(engine)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=NEEDS_IPV6)])
@pytest.mark.parametrize("taken", ["grpc_port", "rest_port"])
def test_a_port_that_another_program_listens_on_is_refused_with_what_to_do(models, taken, host):
    ports: dict[str, Any] = {"grpc_port": free_port(), "rest_port": free_port()}
    with socket.create_server((host, 0), family=family_of(host)) as other:
        ports[taken] = other.getsockname()[1]
        text = rf"port {ports[taken]} of {re.escape(host)}; .* --{taken.replace('_', '-')}\."
        with pytest.raises(BadInput, match=text):
            launcher.serve("embedded", base_path=str(models / "shop"), host=host, **ports)


def test_one_port_for_both_is_refused(models):
    port = free_port()
    with pytest.raises(BadInput, match=rf"can't share port {port}"):
        launcher.serve("embedded", base_path=str(models / "shop"), grpc_port=port, rest_port=port)


SAYS = "lambda line: print(line, flush=True)"


def serve(
    models,
    port,
    *,
    host="127.0.0.1",
    rest_port=0,
    rest_seconds=60,
    engine="embedded",
    path=None,
    say=SAYS,
):
    code = (
        "import signal, sys, threading; from serving import launcher; "
        f"launcher._REST_SECONDS = {rest_seconds};"
        f"sys.exit(launcher.serve({engine!r}, base_path={str(models / 'shop')!r},"
        f" host={host!r}, grpc_port={port}, rest_port={rest_port}, say={say}))"
    )
    environment = os.environ | ({"PATH": path} if path else {})
    return running(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_serve_says_when_it_is_ready_and_passes_the_signal_on(models):
    port = free_port()
    with serve(models, port) as process:
        line = process.stdout.readline()
        assert line == f"Serving debut version 1: gRPC on 127.0.0.1:{port} [embedded]\n"
        with Client(f"127.0.0.1:{port}") as client:
            assert client.recommend(["u"], k=1)[0].item_ids == ["apple"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize("host", ["::1", "::"])
@NEEDS_IPV6
def test_serve_says_when_it_is_ready_on_an_address_of_ipv6(models, host):
    port, rest = free_port(), free_port()
    with serve(models, port, host=host, rest_port=rest) as process:
        line = process.stdout.readline()
        said = f"gRPC on [{host}]:{port}, REST on [{host}]:{rest} [embedded]\n"
        assert line == f"Serving debut version 1: {said}"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_signal_that_does_not_interrupt_the_waiting_is_passed_on_too(models):
    # Nor does one that comes between the last look for signals and the system call that waits.
    to_another_thread = (
        "lambda line: threading.Timer(1, lambda: "
        "signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()"
    )
    with serve(models, free_port(), say=to_another_thread) as process:
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_embedded_server_ends_where_serve_is_killed(models):
    with serve(models, free_port()) as process:
        process.stdout.readline()
        servers = psutil.Process(process.pid).children()
        process.kill()
        process.communicate(timeout=60)
        gone, alive = psutil.wait_procs(servers, timeout=60)
    assert len(gone) == 1 and not alive


EMBEDDED = f'exec {sys.executable} -m serving.main "$@"'


@pytest.mark.parametrize(
    ("script", "rest_seconds"), [(EMBEDDED, 60), (f"{EMBEDDED} --rest_api_port=0", 1)]
)
def test_rest_is_named_where_it_answers(models, tmp_path, script, rest_seconds):
    executable(tmp_path, "tensorflow_model_server", script)
    port, rest = free_port(), free_port()
    path = f"{tmp_path}:{os.environ['PATH']}"
    with serve(
        models, port, rest_port=rest, rest_seconds=rest_seconds, engine="binary", path=path
    ) as process:
        line = process.stdout.readline()
        assert line.startswith(f"Serving debut version 1: gRPC on 0.0.0.0:{port}")
        assert (f"REST on 0.0.0.0:{rest}" in line) is (script == EMBEDDED)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_server_that_ends_by_itself_is_an_error(models, tmp_path):
    executable(tmp_path, "tensorflow_model_server", "exit 3")
    with serve(models, free_port(), engine="binary", path=str(tmp_path)) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "(binary) ended by itself with exit code 3" in errors
