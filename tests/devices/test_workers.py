"""Two workers of a cluster on the loopback interface; one is killed, and both go on.

Minutes; `make test-devices` runs it.
"""

import time

import numpy as np
import pytest

from models.devices.checkpoints import EVERY
from serving.ports import free_port
from tests.devices.running import WAIT, ended, losses_of, started

pytestmark = [pytest.mark.devices, pytest.mark.timeout(3 * WAIT)]

# So many that a worker is still at it when the other one is killed.
STEPS = 300


@pytest.fixture
def workers():
    """Starts two that find each other, each with its folder; ends what is left of them."""
    every = []

    def start(steps, *folders):
        cluster = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        both = [
            started(
                "multi_worker_mirrored", "--steps", steps, "--checkpoints", folder,
                cluster=cluster, worker=worker,
            )
            for worker, folder in enumerate(folders)
        ]  # fmt: skip
        every.extend(both)
        return both

    yield start
    for process in every:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_two_workers_of_which_one_dies_go_on_from_the_last_checkpoint(workers, tmp_path):
    folder = tmp_path / "checkpoints"
    alone = losses_of(started("default", "--steps", STEPS))["finetuning"]["default"]
    first, second = workers(STEPS, folder, folder)
    deadline = time.monotonic() + WAIT
    while not list(folder.glob("ckpt-*.index")):
        assert first.poll() is None and second.poll() is None, ended(first)[1][-6000:]
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.05)
    second.kill()
    second.communicate()
    ended(first)
    assert first.returncode != 0, "it went on alone"
    [newest] = folder.glob("ckpt-*.index")
    step = int(newest.stem.removeprefix("ckpt-"))
    assert step % EVERY == 0 and 0 < step < STEPS

    for worker in workers(STEPS, folder, folder):
        rest = losses_of(worker)["finetuning"]["multi_worker_mirrored"]
        assert len(rest) == STEPS - step
        np.testing.assert_allclose(rest, alone[step:], rtol=1e-3)


def test_workers_that_do_not_see_the_same_checkpoint_say_so(workers, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    losses_of(started("default", "--steps", EVERY + 2, "--checkpoints", one))
    for worker in workers(EVERY + 2, one, other):
        _, said = ended(worker)
        assert "a folder that all workers share" in said
