"""Processes that train, alone or as workers of a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# However busy the machine is.
WAIT = 600

Losses = dict[str, dict[str, list[float]]]


def environment(cluster: list[str] | None = None, worker: int = 0) -> dict[str, str]:
    """With TF_CONFIG as a training operator sets it, where there is a cluster."""
    found = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    if cluster is not None:
        task = {"type": "worker", "index": worker}
        found["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
    return found


def started(
    *arguments: object, cluster: list[str] | None = None, worker: int = 0
) -> "subprocess.Popen[str]":
    """`fit_encoder`, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.devices.fit_encoder", *map(str, arguments)],
        env=environment(cluster, worker), cwd=REPOSITORY, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def losses_of(process: "subprocess.Popen[str]") -> Losses:
    """What it prints, once it has ended well."""
    out, errors = ended(process)
    assert process.returncode == 0, errors[-6000:]
    found: Losses = json.loads(out.splitlines()[-1])
    return found


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Both outputs, once it has ended; it is killed where it does not."""
    try:
        return process.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        raise AssertionError(f"It never ended:\n{errors[-6000:]}") from None
