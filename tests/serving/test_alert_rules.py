"""The alert rules on made-up hours, by promtool: what fires, and that nothing else does."""

import itertools
import shutil
import subprocess

import pytest
import yaml

from tests.serving.prometheus_files import ALERTS, CONFIG, DRIFT_ALERTS

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here (Debian package prometheus)"
)
UP = {'up{job="debut"}': "1x60"}
SEVERITY = {
    "DebutDown": "critical",
    "DebutFails": "critical",
    "DebutRefuses": "warning",
    "DebutSlow": "warning",
    "DebutLoadFails": "warning",
    "DebutRatingsDrift": "warning",
    "DebutDataDrifts": "warning",
    "DebutNotTrained": "warning",
}


def count(status, values, model="debut"):
    return {f':tensorflow:serving:request_count{{model_name="{model}",status="{status}"}}': values}


def latency(api, *counts):
    """Requests each minute in the buckets that end at 67, 121 and 219 ms."""
    name = ":tensorflow:serving:request_latency_bucket"
    labels = f'model_name="debut",API="{api}",entrypoint="GRPC"'
    bounds = [f"{10 * 1.8**n:.6g}" for n in (15, 16, 17)] + ["+Inf"]
    totals = [*itertools.accumulate(counts), sum(counts)]
    return {
        f'{name}{{{labels},le="{le}"}}': f"0+{total}x60"
        for le, total in zip(bounds, totals, strict=True)
    }


def loads(folder, status, values):
    name = ":tensorflow:cc:saved_model:load_attempt_count"
    return {f'{name}{{model_path="/models/{folder}",status="{status}"}}': values}


CASES = {
    # What each minute brings, and the alert after an hour.
    "nothing is asked": (UP, None),
    "all is well": (UP | count("OK", "0+100x60") | latency("Predict", 100, 0, 0), None),
    "the server is gone": ({'up{job="debut"}': "0x60"}, "DebutDown"),
    "the target is gone": ({}, "DebutDown"),
    "only the batching server is there": ({'up{job="debut-batching"}': "1x60"}, "DebutDown"),
    "one of two replicas is gone": (
        {'up{job="debut",pod="a"}': "0x60", 'up{job="debut",pod="b"}': "1x60"},
        None,
    ),
    "the scrape failed for half a minute": ({'up{job="debut"}': "1x59 0"}, None),
    "2 % fail": (UP | count("OK", "0+98x60") | count("INTERNAL", "0+2x60"), "DebutFails"),
    "the batching queue is full": (
        UP | count("OK", "0+90x60") | count("UNAVAILABLE", "0+10x60"),
        "DebutFails",
    ),
    "half a per cent fails": (
        UP | count("OK", "0+995x60") | count("INTERNAL", "0+5x60"),
        None,
    ),
    "failures ended half an hour ago": (
        UP | count("OK", "0+98x60") | count("INTERNAL", "0+2x30 60x30"),
        None,
    ),
    "another model fails": (
        UP | count("OK", "0+10x60") | count("INTERNAL", "0+90x60", model="other"),
        None,
    ),
    "a third is refused": (
        UP | count("OK", "0+20x60") | count("INVALID_ARGUMENT", "0+10x60"),
        "DebutRefuses",
    ),
    "a tenth is refused": (UP | count("OK", "0+90x60") | count("NOT_FOUND", "0+10x60"), None),
    "clients cancel": (UP | count("OK", "0+20x60") | count("CANCELLED", "0+10x60"), None),
    "2 % are slow": (UP | latency("Predict", 98, 0, 2), "DebutSlow"),
    "one in 200 is slow": (UP | latency("Predict", 199, 0, 1), None),
    "all take between 67 and 121 ms": (UP | latency("Predict", 0, 100, 0), None),
    "only probes are slow": (UP | latency("", 0, 0, 10) | latency("Predict", 100, 0, 0), None),
    "a version does not load": (UP | loads("debut/7", "fail", "_x55 1 2 3 4 5"), "DebutLoadFails"),
    "versions load": (UP | loads("debut/7", "success", "_x55 1 2 3 4 5"), None),
    "a version was tried once": (UP | loads("debut/7", "fail", "_x55 1x5"), "DebutLoadFails"),
    "a version was given up half an hour ago": (
        UP | loads("debut/7", "fail", "_x20 1 2 3 4 5 6x40"),
        "DebutLoadFails",
    ),
    "a version was given up long ago": (UP | loads("debut/7", "fail", "6x60"), None),
    "another model does not load": (UP | loads("other/7", "fail", "_x55 1 2 3 4 5"), None),
    "ratings drift": (UP | {"debut_rating_stability_index": "0.25x60"}, "DebutRatingsDrift"),
    "ratings are noticed": (UP | {"debut_rating_stability_index": "0.24x60"}, None),
    "prices drift": (
        UP | {'debut_feature_divergence{feature="price",split="all"}': "0.2x60"},
        "DebutDataDrifts",
    ),
    "prices differ": (
        UP | {'debut_feature_divergence{feature="price",split="all"}': "0.1x60"},
        None,
    ),
    "a run was a minute ago": (UP | {"debut_drift_measured_seconds": "3540x60"}, None),
    "no run for over a week": (
        UP | {"debut_drift_measured_seconds": "-700000x60"},
        "DebutNotTrained",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_alert_fires_where_it_should_and_no_other(case, tmp_path):
    series, alert = CASES[case]
    firing = [f'{{alertname="{alert}",severity="{SEVERITY[alert]}"}}'] if alert else []
    document = {
        "rule_files": [str(ALERTS), str(DRIFT_ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'sum by (alertname, severity) (ALERTS{alertstate="firing"})',
                        "eval_time": "1h",
                        "exp_samples": [{"labels": name, "value": 1} for name in firing],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    tested = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize(
    ("what", "file"), [("rules", ALERTS), ("rules", DRIFT_ALERTS), ("config", CONFIG)]
)
def test_promtool_accepts_the_files(what, file):
    checked = subprocess.run(
        ["promtool", "check", what, file], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
