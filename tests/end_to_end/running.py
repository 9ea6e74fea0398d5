"""Settings that make a run small, and the embedded model server as a process of its own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DebutError
from serving import launcher
from serving.client import Client
from serving.ports import free_port

INFRA_REQUESTS = 5


def small(data: Path, encoder: Path) -> list[str]:
    """Settings for a tiny shop; half of the users are held out, so that each slice has rows."""
    return [
        f"data.path={data}",
        "data.new_item_share=0.15",
        "data.eval_user_share=0.5",
        "data.history_length=20",
        f"encoder.name={encoder}",
        "features.max_tokens=16",
        "features.lexical_tokens=32",
        "features.lexical_size=16",
        "features.price_buckets=4",
        "model.embedding_size=16",
        "model.max_anchors=200",
        "model.anchors_per_item=8",
        "model.teacher_regularization=20",
        "training.steps=60",
        "training.folds=2",
        "training.batch_users=64",
        "training.batch_ratings=512",
        "training.learning_rate=0.01",
        "training.scalar_learning_rate=0.05",
        "training.weight_decay=0.1",
        "training.warmup_steps=5",
        "training.validate_every=10",
        "training.patience=40",
        f"gates.infra_requests={INFRA_REQUESTS}",
    ]


@contextmanager
def embedded_server(base_path: Path) -> Iterator[Client]:
    """The server that `debut serve --engine embedded` starts, until it is no longer needed."""
    port = free_port()
    line = launcher.command(
        "embedded",
        base_path=str(base_path),
        model_name="debut",
        host="127.0.0.1",
        grpc_port=port,
        rest_port=0,
    )
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Client(f"127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def wait_until_available(client: Client, version: int) -> None:
    """Waits as long as a busy machine may need."""
    states = {}
    for _ in range(600):
        try:
            states = {status.version: status.state for status in client.status()}
        except DebutError:  # not listening yet
            states = {}
        if states.get(version) == "AVAILABLE":
            return
        time.sleep(0.2)
    raise AssertionError(f"Version {version} never became available: {states}")
