"""Beam's workers on this machine: how rows reach them, how they start, and what their end tells."""

import json
import os
import subprocess
import sys

import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from components.beam_workers import prepare_workers
from serving.ports import free_port

SCRIPT = """
import json, os, signal, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from pipeline.beam_profiles import beam_pipeline_args
from components.beam_workers import prepare_workers

def look(number):
    return number, os.getpid(), os.getppid(), "tfx" in sys.modules

def refuse(number):
    raise ValueError(f"not {number}")

def die(number):
    os.kill(os.getpid(), signal.SIGKILL)

def write(file):
    return beam.io.WriteToText(file, num_shards=1, shard_name_template="")

if __name__ == "__main__":
    args = beam_pipeline_args("multi_process", ["--direct_num_workers=2"])
    prepare_workers(args)
    for function in (look, refuse, die):
        file = os.path.join(sys.argv[1], function.__name__)
        try:
            with beam.Pipeline(options=PipelineOptions(args)) as pipeline:
                numbers = pipeline | beam.Create(range(64)) | beam.Reshuffle()
                _ = numbers | beam.Map(function) | beam.Map(json.dumps) | write(file)
        except Exception as error:
            print(function.__name__, "failed:", error)
        else:
            print(function.__name__, "ended")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A program with a pipeline for each function, and the folder with what they wrote."""
    folder = tmp_path_factory.mktemp("workers")
    program = folder / "program.py"
    program.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, program, folder],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, folder


def test_rows_are_sent_in_full_buffers_and_not_by_time(monkeypatch):
    # A limit of time is what Beam has unless it is turned off: else turning it off can go.
    assert worker_handlers.DATA_BUFFER_TIME_LIMIT_MS in (0, 1000)
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
    prepare_workers([])
    server = worker_handlers.GrpcServer(None, None, None)
    try:
        channel = server.data_plane_handler.get_conn_by_worker_id("worker")
        assert channel._data_buffer_time_limit_ms == 0
    finally:
        server.close()


def test_workers_are_forked_from_one_process_that_has_the_libraries(ran):
    done, folder = ran
    assert "look ended" in done.stdout
    numbers, workers, parents, has_tfx = zip(
        *map(json.loads, (folder / "look").read_text().splitlines()), strict=True
    )
    assert sorted(numbers) == list(range(64))
    assert len(set(workers)) == 2 and len(set(parents)) == 1
    assert all(has_tfx)
    assert "INFO" not in done.stderr


@pytest.mark.parametrize(
    ("function", "said"), [("refuse", "ValueError: not "), ("die", "ended with exit code -9")]
)
def test_a_pipeline_whose_worker_fails_or_is_killed_fails(ran, function, said):
    done, folder = ran
    assert f"{function} failed: " in done.stdout
    assert said in done.stderr + done.stdout
    assert not (folder / function).exists()


LOST = """
import sys, threading
import grpc
from apache_beam.runners.portability.portable_runner import PipelineResult
from components.beam_workers import prepare_workers

prepare_workers([])
hook = threading.excepthook
prepare_workers([])
assert threading.excepthook is hook  # a process may run many pipelines
channel = grpc.insecure_channel(sys.argv[1])
messages, states = (channel.unary_stream(f"/job/{name}")(b"") for name in ("messages", "states"))
try:
    PipelineResult(None, "job", messages, states).wait_until_finish()
except grpc.RpcError as error:
    print("raised", error.code().name)
threading.Thread(target=lambda: 1 / 0).start()
"""


def test_a_runner_that_is_lost_is_told_once():
    done = subprocess.run(
        [sys.executable, "-c", LOST, f"localhost:{free_port()}"],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert done.stdout == "raised UNAVAILABLE\n"
    # Of any other thread the traceback is still shown.
    assert done.stderr.count("Traceback") == 1 and "ZeroDivisionError" in done.stderr
