"""A real Prometheus, with the configuration of serving/docker, scrapes the embedded server."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
import requests
import yaml

from models.errors import BadInput
from serving.client import Client
from serving.ports import free_port
from tests.serving import saved_models
from tests.serving.conftest import Servers
from tests.serving.prometheus_files import ALERTS, CONFIG, DOCKER, alerts, load, queries

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus here (Debian package prometheus)"
)
SECONDS = 60  # for a slow machine; each wait takes a second or two
MODEL_SERVER = DOCKER / "model-server"
REQUESTS = ":tensorflow:serving:request_count"
GOOD, WRONG, OVER_REST, ABSENT = 7, 3, 4, 2  # requests of each kind


def scrape_config(rest_port):
    """The shipped configuration, faster, its targets on this machine."""
    config = load(CONFIG)
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    assert config["rule_files"] == [ALERTS.name]
    config["rule_files"] = [str(ALERTS)]
    debut, batching = config["scrape_configs"]
    debut["static_configs"][0]["targets"] = [f"127.0.0.1:{rest_port}"]
    # Like the name of a compose service whose profile is off, it stands for no machine.
    batching["dns_sd_configs"][0]["names"] = ["model-server-batching.invalid"]
    return config


class Prometheus:
    """Asks a running Prometheus over its HTTP API."""

    def __init__(self, port):
        self._api = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path, **parameters):
        answer = requests.get(f"{self._api}/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, text):
        """The samples of an instant query: labels but the target's, and value."""
        found = self.get("query", query=text)["result"]
        own = ("__name__", "job", "instance")
        return [
            ({k: v for k, v in sample["metric"].items() if k not in own}, float(sample["value"][1]))
            for sample in found
        ]

    def wait_until(self, holds, what):
        end = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < end, f"never {what}"
            time.sleep(0.1)

    def rules(self):
        """Name of the alert to its state, once each has been evaluated."""

        def found():
            return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

        self.wait_until(
            lambda: found() and all(rule["health"] != "unknown" for rule in found()), "evaluated"
        )
        assert [rule["lastError"] for rule in found() if rule["health"] != "ok"] == []
        return {rule["name"]: rule["state"] for rule in found()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The embedded server by the files that the container is started with, under other paths."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "debut").mkdir()
    saved_models.save_shop(str(folder / "debut"))
    models = folder / "models.config"
    text = (MODEL_SERVER / "models.config").read_text(encoding="utf-8")
    models.write_text(text.replace("/models", str(folder)), encoding="utf-8")
    servers = Servers()
    yield servers(
        f"--model_config_file={models}",
        f"--monitoring_config_file={MODEL_SERVER / 'monitoring.config'}",
    )
    servers.stop()


@contextmanager
def scraping(rest_port, folder):
    """A Prometheus that scrapes the port."""
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(scrape_config(rest_port)), encoding="utf-8")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "log"
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            end = time.monotonic() + SECONDS
            while not _answers(f"http://127.0.0.1:{port}/-/ready"):
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            yield Prometheus(port)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory):
    with scraping(server.rest_port, tmp_path_factory.mktemp("prometheus")) as found:
        yield found


def _answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def asked(server, prometheus):
    """After the requests, and a scrape that began later than they ended."""
    with Client(f"127.0.0.1:{server.grpc_port}") as client:
        for _ in range(GOOD):
            client.score(["ann"], ["bread"])
        for _ in range(WRONG):
            with pytest.raises(BadInput):
                client.score(["ann"], ["unheard-of"])
    url = f"http://127.0.0.1:{server.rest_port}/v1/models"
    body = json.dumps({"signature_name": "similar_items", "inputs": {"item_id": ["egg"], "k": 2}})
    for _ in range(OVER_REST):
        assert requests.post(f"{url}/debut:predict", data=body, timeout=30).ok
    for _ in range(ABSENT):
        assert requests.post(f"{url}/absent:predict", data=body, timeout=30).status_code == 404
    end = time.time()
    scraped = 'timestamp(up{job="debut"})'
    prometheus.wait_until(
        lambda: any(value > end for _, value in prometheus.query(scraped)), "scraped"
    )
    return prometheus


def test_target_is_up_and_the_profile_that_is_off_is_no_target(asked, server):
    [target] = asked.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["labels"] == {"job": "debut", "instance": f"127.0.0.1:{server.rest_port}"}
    assert asked.query("up") == [({}, 1)]


def test_counts_are_what_the_clients_sent(asked):
    counts = {tuple(sorted(labels.items())): value for labels, value in asked.query(REQUESTS)}
    assert counts == {
        (("model_name", "debut"), ("status", "OK")): GOOD + OVER_REST,
        (("model_name", "debut"), ("status", "INVALID_ARGUMENT")): WRONG,
        (("model_name", "absent"), ("status", "NOT_FOUND")): ABSENT,
    }


def test_latencies_are_histograms_of_the_requests_that_succeeded(asked):
    name = ":tensorflow:serving:request_latency"
    counts = {
        (labels["API"], labels["entrypoint"]): value
        for labels, value in asked.query(f"{name}_count")
    }
    assert counts == {("Predict", "GRPC"): GOOD, ("predict", "REST"): OVER_REST}
    infinite = asked.query(f'sum({name}_bucket{{le="+Inf"}})')
    assert infinite == [({}, GOOD + OVER_REST)]
    [(_, median)] = asked.query(f"histogram_quantile(0.5, sum by (le) ({name}_bucket))")
    assert 10 < median < 30e6  # microseconds


def test_types_are_what_the_queries_take_them_for(asked):
    types = {name: found[0]["type"] for name, found in asked.get("metadata").items()}
    assert types[REQUESTS] == "counter"
    assert types[":tensorflow:serving:request_latency"] == "histogram"
    assert types[":tensorflow:cc:saved_model:load_attempt_count"] == "counter"


@pytest.mark.parametrize("name", queries())
def test_prometheus_evaluates_every_query_of_the_rules_and_the_dashboard(asked, name):
    asked.query(queries()[name])


def test_alert_rules_are_healthy_and_quiet(asked):
    # Before the first scrape nothing was up: the next evaluation takes that back.
    quiet = {rule["alert"]: "inactive" for rule in alerts()}
    asked.wait_until(lambda: asked.rules() == quiet, "quiet")


def test_server_that_does_not_answer_is_down_and_about_to_be_an_alert(tmp_path):
    with scraping(free_port(), tmp_path) as prometheus:
        prometheus.wait_until(lambda: prometheus.query("up") == [({}, 0)], "scraped")
        prometheus.wait_until(lambda: prometheus.rules()["DebutDown"] == "pending", "an alert")
