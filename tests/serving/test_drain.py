"""SIGTERM while requests are in flight on both ports."""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import requests

from serving.ports import free_port
from tests.processes import running
from tests.serving.conftest import accepts, endpoint
from tests.serving.saved_models import Held


def test_sigterm_closes_both_ports_and_finishes_what_is_in_flight_on_them(models, tmp_path):
    ports = free_port(), free_port()
    log = tmp_path / "access.jsonl"
    command = [
        *(sys.executable, "-m", "serving.main"),
        *(f"--port={ports[0]}", f"--rest_api_port={ports[1]}", "--bind_address=127.0.0.1"),
        *("--model_name=probe", f"--model_base_path={models / 'probe'}"),
        *(f"--access_log_file={log}", "--enable_grpc_healthcheck_service"),
    ]
    with running(command) as process, endpoint(*ports) as server:
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        while not accepts(ports[1]):
            assert process.poll() is None
            time.sleep(0.05)
        url = f"http://127.0.0.1:{ports[1]}/v1/models/probe"
        idle = requests.Session()
        assert idle.get(url, timeout=30).status_code == 200

        held = Held(server, tmp_path)
        pipe = str(tmp_path / "rest-pipe")
        os.mkfifo(pipe)
        with ThreadPoolExecutor(1) as pool:
            body = {"signature_name": "held", "inputs": pipe}
            answer = pool.submit(requests.post, f"{url}:predict", json=body, timeout=120)
            while not os.path.exists(pipe + ".begun"):
                assert not answer.done(), answer.result().text
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            while any(accepts(port) for port in ports):
                time.sleep(0.05)
            # A connection that is still open is no way in.
            late = idle.get(url, timeout=30)
            assert (late.status_code, late.headers["Connection"]) == (503, "close")
            assert held.let_go().model_spec.version.value == 1
            with open(pipe, "rb"):
                assert answer.result().json() == {"outputs": pipe}
        idle.close()
        process.wait(60)
        assert process.returncode == 0
    codes = [json.loads(line)["code"] for line in log.read_text().splitlines()]
    assert sorted(codes) == ["200", "200", "OK"]
