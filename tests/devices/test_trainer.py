"""The Trainer of the compiled pipeline as two workers, as a training operator would start it.

Minutes; `make test-devices` runs it.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from models.record import TrainingRecord, read_record
from serving.ports import free_port
from tests.devices.running import environment
from tests.end_to_end.running import small
from tests.end_to_end.shop import write_shop
from tests.kubeflow.launcher import Cluster, Place, needs, order, process
from tests.kubeflow.test_executed import compiled
from tests.tiny_bert import write_tiny_bert

pytestmark = [pytest.mark.devices, pytest.mark.timeout(1800)]

TRAINER = "TwoTowerTrainer"


def as_two_workers(executor, arguments, disk, work):
    """Every task as one process, but the Trainer, whose command runs twice, beside itself."""
    if "components.trainer.Executor" not in arguments:
        return process(executor, arguments, disk, work)
    cluster = [f"127.0.0.1:{free_port()}" for _ in range(2)]

    def worker(index):
        configured = environment(cluster, index)["TF_CONFIG"]
        return process(executor, arguments, disk, work, TF_CONFIG=configured)

    with ThreadPoolExecutor(2) as both:
        first, second = both.map(worker, range(2))
    (work / "second").write_text(second.stdout + second.stderr)
    return first if second.returncode == 0 else second


class Trained(NamedTuple):
    """What the two workers left."""

    saved: Path
    record: TrainingRecord
    checkpoints: Path
    logs: tuple[str, str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    shop, encoder = write_shop(folder / "shop"), write_tiny_bert(folder / "bert")
    volume, checkpoints = folder / "volume", folder / "checkpoints"
    volume.mkdir()
    settings = [
        *small(shop.folder, encoder),
        f"kubeflow.mount={volume}",
        "training.strategy=multi_worker_mirrored",
        f"training.checkpoints={checkpoints}",
        "encoder.trainable_layers=1",
        "finetuning.steps=12",
        "finetuning.batch_pairs=8",
        "compression.student=layers",
        "compression.steps=3",
    ]
    spec = compiled(folder, settings)
    cluster = Cluster(Place(store=folder / "store", work=folder / "work"), as_two_workers)
    outputs: dict[str, dict[str, Any]] = {}
    for task in before(spec, TRAINER):
        outputs[task] = cluster.run_task(spec, task, "run", outputs)
    model, run = (cluster.files(outputs[TRAINER][key]["uri"]) for key in ("model", "model_run"))
    [saved] = model.rglob("saved_model.pb")
    logs = (folder / "work" / "run" / TRAINER / "log", folder / "work" / "second")
    first, second = (log.read_text() for log in logs)
    return Trained(saved.parent, read_record(run), checkpoints, (first, second))


def before(spec, task):
    """The task, after all that it needs."""
    wanted, found = needs(spec), {task}
    while more := {other for name in found for other in wanted[name]} - found:
        found |= more
    return [name for name in order(spec) if name in found]


def test_the_first_worker_writes_a_model_that_reads_texts_without_any_cluster(trained):
    assert trained.record.fine_tuned is not None and trained.record.compressed is not None
    served = tf.saved_model.load(str(trained.saved))
    texts = {
        name: tf.constant(["red tea cup", "gold doll"])
        for name in ("title", "category", "brand", "description")
    }
    price = tf.constant([1.0, 2.0])
    found = served.signatures["embed_items"](**texts, price=price)["embedding"].numpy()
    assert np.isfinite(found).all() and np.abs(found[0] - found[1]).max() > 0.01


def test_the_other_worker_trains_the_encoder_too_and_nothing_else(trained):
    for log in trained.logs:
        assert "PairModel: steps 1 to 12 on 2 devices" in log
        assert "Student: steps 1 to 3 on 2 devices" in log
    chooses_the_kernel = ["on simulated new items with" in log for log in trained.logs]
    assert chooses_the_kernel == [True, False]


def test_a_finished_training_leaves_no_checkpoints(trained):
    assert list(trained.checkpoints.iterdir()) == []
