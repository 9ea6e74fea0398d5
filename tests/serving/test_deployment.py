"""serving/docker and serving/k8s, as far as they can be held to anything without a cluster.

Text protos against the stock server's messages, flags against its flags, manifests against the
schemas of Kubernetes, queries against the metrics that a real 2.16.1 server was seen to export.
"""

import inspect
import re
import shutil
import subprocess
import threading
from pathlib import Path

import grpc
import kubernetes_validate
import promql_parser
import pytest
import trustme
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import flags, launcher, session_config
from serving.client import Client
from serving.client_credentials import Tls
from serving.config.messages import BatchingParameters, MonitoringConfig, SSLConfig
from serving.ports import free_port
from serving.server import ModelServer
from tests.serving import saved_models
from tests.serving.prometheus_files import (
    ADAPTER,
    CONFIG,
    DOCKER,
    SERVING,
    alerts,
    load,
    panels,
    queries,
)
from tests.serving.scripted_server import ScriptedServer, ranking

BASE = SERVING / "k8s" / "base"

# What a query may name: of the stock server's metrics as recorded, and Prometheus' own `up`.
METRICS = {
    "up": {"job", "instance"},
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    ":tensorflow:serving:runtime_latency": {"model_name", "API", "runtime"},
    ":tensorflow:serving:model_warmup_latency": {"model_path", "status"},
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
}
HISTOGRAMS = {name for name in METRICS if name.endswith("_latency")}
# gRPC's codes, as the `status` label spells them.
CODES = {code.name for code in grpc.StatusCode}


def text_proto(path, message):
    return text_format.Parse(path.read_text(encoding="utf-8"), message)


def resources():
    """Every resource that the kustomization lists, by kind."""
    listed = [load(BASE / name) for name in load(BASE / "kustomization.yaml")["resources"]]
    return {resource["kind"]: resource for resource in listed}


def pod():
    return resources()["Deployment"]["spec"]["template"]["spec"]


def model_server():
    [container] = pod()["containers"]
    return container


def compose():
    return load(DOCKER / "compose.yaml")["services"]


def command_lines():
    yield "kubernetes", model_server()["args"]
    for name, service in compose().items():
        if service["image"].startswith("tensorflow/serving"):
            yield name, service["command"]


def selectors(query):
    """The selectors of a query: (metric, [(label, value)])."""
    found = []

    def visit(expression):
        if isinstance(expression, promql_parser.VectorSelector):
            matchers = expression.matchers.matchers
            found.append((expression.name, [(m.name, m.value) for m in matchers]))

    promql_parser.walk(promql_parser.parse(query), pre_visit=visit)
    return found


def test_both_places_serve_by_the_same_configuration():
    for name in ("models.config", "monitoring.config", "session.config"):
        assert (DOCKER / "model-server" / name).read_bytes() == (
            BASE / "config" / name
        ).read_bytes()


def test_sessions_are_set_up_as_by_debut_serve():
    assert (BASE / "config" / "session.config").read_bytes() == session_config.FILE.read_bytes()
    mounted = "--tensorflow_session_config_file=/config/session.config"
    assert mounted in model_server()["args"]
    for name in ("model-server", "model-server-batching"):
        assert mounted in compose()[name]["command"]


def test_the_model_configuration_is_the_stock_server_s_and_names_debut():
    message = model_server_config_pb2.ModelServerConfig()
    config = text_proto(BASE / "config" / "models.config", message)
    [model] = config.model_config_list.config
    assert (model.name, model.base_path) == ("debut", "/models/debut")
    assert model.model_platform == "tensorflow"


def test_the_model_configuration_serves_what_lies_in_a_run_s_folder(tmp_path):
    """The embedded server, on the same file with /models where `<root>/serving` is mounted."""
    (tmp_path / "debut").mkdir()
    saved_models.save_shop(str(tmp_path / "debut"))
    text = (BASE / "config" / "models.config").read_text().replace("/models", str(tmp_path))
    file = tmp_path / "models.config"
    file.write_text(text)
    port, rest = free_port(), free_port()
    arguments = [f"--port={port}", f"--rest_api_port={rest}", f"--model_config_file={file}"]
    server = ModelServer(flags.parse([*arguments, "--bind_address=127.0.0.1"]), threading.Event())
    server.start()
    try:
        with Client(f"127.0.0.1:{port}") as client:
            assert [version.state for version in client.status()] == ["AVAILABLE"]
        assert health_check(rest).returncode == 0
    finally:
        server.drain()
    assert health_check(rest).returncode != 0


def health_check(rest):
    """The containers' health check, run here."""
    kind, *words = compose()["model-server"]["healthcheck"]["test"]
    assert kind == "CMD"
    assert "8501" in words[-1]
    words[-1] = words[-1].replace("8501", str(rest))
    return subprocess.run(words, capture_output=True, timeout=30, check=False)


def test_the_monitoring_configuration_is_served_where_everybody_scrapes():
    config = text_proto(BASE / "config" / "monitoring.config", MonitoringConfig())
    assert config.prometheus_config.enable
    path = config.prometheus_config.path
    for job in load(CONFIG)["scrape_configs"]:
        assert job["metrics_path"] == path
    annotations = resources()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path


def test_batching_never_pads_a_history_with_items():
    """The stock server pads with the tensor's first value: recorded as `batch.padded`."""
    file = DOCKER / "model-server" / "batching.config"
    parameters = text_proto(file, BatchingParameters())
    assert not parameters.pad_variable_length_inputs
    sizes = parameters.allowed_batch_sizes
    assert not sizes or sizes[-1] == parameters.max_batch_size.value
    assert parameters.max_batch_size.value > 1


def test_batching_stays_away_from_the_server_that_answers_recommend():
    """It refuses the scalar inputs `k` and `new_only`: recorded as `batch.mixed_scalar_among`."""
    lines = dict(command_lines())
    batched = [name for name, line in lines.items() if any("batching" in flag for flag in line)]
    assert batched == ["model-server-batching"]
    assert compose()["model-server-batching"]["profiles"] == ["batching"]


@pytest.mark.parametrize(("name", "line"), command_lines())
def test_no_server_refuses_the_requests_that_its_batches_take(name, line):
    """By itself it has four threads for each core, and refuses more: recorded as `concurrency`."""
    parameters = text_proto(DOCKER / "model-server" / "batching.config", BatchingParameters())
    batch = parameters.max_batch_size.value if "--enable_batching=true" in line else 32
    assert flags.parse(line).number("grpc_max_threads") >= 2 * batch


@pytest.mark.parametrize(("name", "line"), command_lines())
def test_every_flag_is_the_stock_server_s(name, line):
    parsed = flags.parse(line)
    assert not parsed.unknown
    ours = {flag.name for flag in flags.FLAGS if flag.support is flags.Support.OWN}
    assert not ours & {flag.removeprefix("--").partition("=")[0] for flag in line}
    assert (parsed.number("port"), parsed.number("rest_api_port")) == (8500, 8501)


def test_the_image_is_the_one_that_debut_serve_runs():
    images = [service["image"] for service in compose().values()]
    assert images.count(launcher.IMAGE) == 2
    containers = [*pod()["initContainers"], *pod()["containers"]]
    assert {container["image"] for container in containers} == {launcher.IMAGE}
    assert not [image for image in images if ":" not in image or image.endswith("latest")]


# The compose file


def mounts(service):
    """(source, target) of a service's bind mounts and volumes."""
    for volume in service.get("volumes", ()):
        if isinstance(volume, str):
            source, target, *_ = volume.split(":")
            yield source, target
        else:
            yield volume["source"], volume["target"]


def test_what_is_mounted_is_there():
    volumes = load(DOCKER / "compose.yaml")["volumes"]
    for name, service in compose().items():
        for source, _ in mounts(service):
            if source.startswith("./"):
                assert (DOCKER / source).is_dir(), f"{name}: {source}"
            else:
                assert source in volumes or source.endswith("}/serving"), f"{name}: {source}"


@pytest.mark.parametrize(("name", "line"), command_lines())
def test_a_file_that_a_flag_names_is_mounted(name, line):
    files = {value for flag, _, value in (w.partition("=") for w in line) if flag.endswith("_file")}
    assert files
    if name == "kubernetes":
        targets = {mount["mountPath"] for mount in model_server()["volumeMounts"]}
        assert {str(Path(file).parent) for file in files} <= targets
        files = {file for file in files if file.startswith("/config")}
        folder = BASE / "config"
    else:
        folders = {target: DOCKER / source for source, target in mounts(compose()[name])}
        folder = folders["/config"]
    assert all((folder / Path(file).name).is_file() for file in files)


def test_the_run_s_folder_is_mounted_where_the_model_configuration_looks():
    default = {s: t for s, t in mounts(compose()["model-server"]) if "DEBUT_ROOT" in s}
    assert default == {"${DEBUT_ROOT:-../../runs}/serving": "/models"}
    assert (DOCKER / "../../runs").resolve() == SERVING.parent / "runs"


def test_no_port_is_open_to_other_machines():
    ports = [port for service in compose().values() for port in service.get("ports", ())]
    assert len(ports) == len(set(ports)) == 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_scrapes_the_services_and_reads_the_rules():
    config = load(CONFIG)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    [target] = jobs["debut"]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert f"--rest_api_port={port}" in compose()[host]["command"]
    [batching] = jobs["debut-batching"]["dns_sd_configs"]
    assert set(batching["names"]) <= compose().keys()
    assert all((DOCKER / "prometheus" / file).is_file() for file in config["rule_files"])


def test_grafana_finds_its_source_and_its_dashboards():
    provisioning = DOCKER / "grafana" / "provisioning"
    [source] = load(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    uids = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert uids == {source["uid"]}
    [provider] = load(provisioning / "dashboards" / "debut.yaml")["providers"]
    targets = dict(map(reversed, mounts(compose()["grafana"])))
    assert list((DOCKER / targets[provider["options"]["path"]]).glob("*.json"))


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="no docker compose here",
)
def test_docker_compose_reads_the_file():
    subprocess.run(
        ["docker", "compose", "--profile", "batching", "config", "--quiet"], cwd=DOCKER, check=True
    )


# Kubernetes


def assert_valid(resource):
    """By the oldest version that the documentation names, and by the newest one known here."""
    for version in ("1.25", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("kind", resources())
def test_manifests_are_valid_by_the_strict_schemas(kind):
    assert_valid(resources()[kind])


def test_the_schemas_refuse_what_is_misspelt():
    broken = resources()["Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        assert_valid(broken)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kustomize_builds_valid_resources():
    built = subprocess.run(
        ["kubectl", "kustomize", str(BASE)], capture_output=True, check=True, text=True
    )
    documents = list(yaml.safe_load_all(built.stdout))
    assert {document["kind"] for document in documents} == {*resources(), "ConfigMap"}
    for document in documents:
        assert_valid(document)


def test_the_kustomization_s_files_are_there_and_none_is_left_out():
    kustomization = load(BASE / "kustomization.yaml")
    [generator] = kustomization["configMapGenerator"]
    listed = {"kustomization.yaml", *kustomization["resources"], *generator["files"]}
    present = {str(file.relative_to(BASE)) for file in BASE.rglob("*") if file.is_file()}
    assert listed == present


def test_what_belongs_together_names_each_other():
    found = resources()
    deployment = found["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector == labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    claim = found["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    [generator] = load(BASE / "kustomization.yaml")["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generator["name"]
    for container in (*pod()["initContainers"], *pod()["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()


def test_ports_and_probes_are_the_container_s():
    container = model_server()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/debut/metadata", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"]["port"] == "grpc"
    found = resources()
    assert [port["targetPort"] for port in found["Service"]["spec"]["ports"]] == ["grpc"]
    rules = found["NetworkPolicy"]["spec"]["ingress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == ["grpc", "rest"]


def test_pods_end_after_their_clients_have_gone_and_before_they_are_killed():
    [_, seconds] = model_server()["lifecycle"]["preStop"]["exec"]["command"]
    arguments = flags.parse(model_server()["args"]).text("grpc_channel_arguments")
    numbers = {name: int(value) for name, value in (a.split("=") for a in arguments.split(","))}
    age, grace = (numbers[f"grpc.max_connection_{name}_ms"] / 1000 for name in ("age", "age_grace"))
    # gRPC lets a connection grow older by up to a tenth.
    assert 1.1 * age + grace <= int(seconds)
    assert grace >= inspect.signature(Client).parameters["timeout"].default
    assert pod()["terminationGracePeriodSeconds"] > int(seconds) + 5
    assert pod()["shareProcessNamespace"]  # else the server is process 1 and ignores SIGTERM


def test_the_autoscaler_reads_what_the_adapter_makes():
    [metric] = resources()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    [rule] = load(ADAPTER)["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_secret_s_files_become_the_configuration_that_mutual_tls_needs(tmp_path):
    """The script on real certificates; its output serves, and only with a client certificate."""
    ca, other = trustme.CA(), trustme.CA()
    certificate = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    out = tmp_path / "ssl.config"
    script = BASE / "config" / "write-ssl-config.sh"
    subprocess.run(["sh", script, tmp_path, out], check=True)

    assert out.stat().st_mode & 0o077 == 0
    config = text_proto(out, SSLConfig())
    assert config.server_key.encode() == certificate.private_key_pem.bytes()
    assert config.client_verify
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode(),
        config.client_verify,
    )
    with ScriptedServer(ranking("a"), credentials=credentials) as server:
        for authority, answers in ((other, False), (ca, True)):
            pair = authority.issue_cert("client")
            tls = Tls(
                ca.cert_pem.bytes(), pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes()
            )
            with Client(server.target, timeout=2, tls=tls, fallback=["z"]) as client:
                [ranked] = client.recommend(["u"])
                assert ranked.is_fallback is not answers


def test_the_secret_is_where_the_script_and_the_server_look():
    [init] = pod()["initContainers"]
    shell, script, secret, out = init["command"]
    mounted = {mount["mountPath"]: mount["name"] for mount in init["volumeMounts"]}
    assert (shell, script) == ("sh", "/config/write-ssl-config.sh")
    assert (mounted[secret], mounted[str(Path(out).parent)]) == ("secret", "tls")
    assert f"--ssl_config_file={out}" in model_server()["args"]


def test_no_key_is_in_the_repository():
    for folder in (DOCKER, SERVING / "k8s"):
        for file in filter(Path.is_file, folder.rglob("*")):
            assert "-----BEGIN" not in file.read_text(encoding="utf-8"), file
    assert "Secret" not in resources()


# Queries


@pytest.mark.parametrize(("name", "query"), queries().items())
def test_queries_name_metrics_labels_and_codes_of_the_stock_server(name, query):
    found = selectors(query)
    assert found
    for metric, matchers in found:
        histogram = re.sub(r"_(bucket|sum|count)$", "", metric)
        if histogram in HISTOGRAMS:
            assert metric != histogram, f"{metric}: a histogram is not exported by its bare name"
            metric = histogram
        labels = METRICS[metric] | {"namespace", "pod"}
        assert {label for label, _ in matchers} <= labels
        for label, value in matchers:
            if label == "status" and metric.endswith("request_count"):
                assert set(value.split("|")) <= CODES
            if label == "model_name":
                assert value == "debut"


def test_alerts_say_what_to_do():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "remedy"}


def test_panels_are_told_apart_and_lie_beside_each_other():
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in panels()]
    assert len(set(places)) == len({panel["id"] for panel in panels()}) == len(places)
    assert all(
        panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels()
    )
