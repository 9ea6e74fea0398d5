"""What of serving/docker and serving/k8s Prometheus and Grafana read, as the tests ask about it."""

import json
from pathlib import Path

import yaml

SERVING = Path(__file__).parents[2] / "serving"
DOCKER = SERVING / "docker"
ALERTS = DOCKER / "prometheus" / "alerts.yml"
DRIFT_ALERTS = DOCKER / "prometheus" / "drift-alerts.yml"
CONFIG = DOCKER / "prometheus" / "prometheus.yml"
ADAPTER = SERVING / "k8s" / "prometheus-adapter" / "values.yaml"


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def alerts():
    [group] = load(ALERTS)["groups"]
    return group["rules"]


def panels():
    dashboard = DOCKER / "grafana" / "dashboards" / "debut.json"
    return json.loads(dashboard.read_text(encoding="utf-8"))["panels"]


def queries():
    """Name to PromQL, what Grafana and the adapter would put in filled in."""
    found = {rule["alert"]: rule["expr"] for rule in alerts()}
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5m")
            found[f"{panel['title']} {target['refId']}"] = query
    [rule] = load(ADAPTER)["rules"]["custom"]
    found["adapter"] = (
        rule["metricsQuery"]
        .replace("<<.LabelMatchers>>", 'namespace="shop",pod=~"debut-1|debut-2"')
        .replace("<<.GroupBy>>", "pod")
    )
    found["adapter's series"] = rule["seriesQuery"]
    return found
