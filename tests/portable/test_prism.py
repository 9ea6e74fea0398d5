"""Every Beam stage on Prism, Beam's portable runner, against the runner of one process.

`make test-portable`. A run on Prism loses its worker midway first and is then run to its end; each
stage of it is then run again on the same inputs, by every runner.
"""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.metadata import NewestRun
from tests.portable.comparing import SameResults
from tests.portable.pool import worker_pool
from tests.portable.prism import prism
from tests.portable.stages import DESCRIBING, NODES
from tests.portable.workplace import LANES, SECONDS, Workplace, finished

pytestmark = [pytest.mark.portable, pytest.mark.timeout(3600)]

LOST = "TransformCatalogue"  # the node whose worker is killed
# Prism has once waited on for a worker that was killed. No node of this shop takes that long.
LONGEST = "--job_server_timeout=180"


@pytest.fixture(scope="module")
def loopback() -> list[str]:
    """Flags for a worker inside the process that asks for it."""
    program, reason = prism()
    if program is None:
        pytest.skip(reason)
    return [f"--prism_location={program}"]


@pytest.fixture(scope="module")
def other_pool(tmp_path_factory):
    """Prism of any process calls its first job the same, and a pool's workers go by that name."""
    with worker_pool(tmp_path_factory.mktemp("other-pool") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def external(loopback, pool) -> list[str]:
    """Flags for the workers of the pool."""
    return [*loopback, *pool.flags, LONGEST]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Workplace.make(tmp_path_factory.mktemp("portable"))


@pytest.fixture(scope="module")
def killed(place, pool, external):
    """What a run said whose worker was killed in Transform, and states by node."""
    process = place.run("prism", external)
    deadline, earlier = time.monotonic() + SECONDS, set[int]()
    while True:
        workers = set(pool.workers())
        if not (place.root / "artifacts" / LOST).exists():
            earlier |= workers
        elif any(map(_at_work, workers - earlier)):
            break
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    for worker in workers - earlier:
        os.kill(worker, signal.SIGKILL)
    said = finished(process, code=1)
    return said, NewestRun(place.root).states


def _at_work(worker: int) -> bool:
    """It was sent steps of the pipeline: for them it has loaded TensorFlow."""
    try:
        return "/tensorflow/" in Path(f"/proc/{worker}/maps").read_text()
    except OSError:  # it has ended
        return False


@pytest.fixture(scope="module")
def resumed(place, external, killed):
    """States by node of the same command again."""
    finished(place.run("prism", external))
    return NewestRun(place.root).states


@pytest.fixture(scope="module")
def direct(place, resumed):
    return place.stages("direct", "direct")


@pytest.fixture(scope="module")
def by_the_pool(place, resumed, loopback, external, other_pool):
    return place.stages("external", "prism", external, [*loopback, *other_pool.flags])


@pytest.fixture(scope="module", params=["loopback", "external"])
def portable(request, place, resumed, loopback):
    if request.param == "external":
        return request.getfixturevalue("by_the_pool")
    return place.stages("loopback", "prism", loopback)


class TestPrism(SameResults):
    def test_a_run_whose_worker_is_killed_fails_and_the_next_goes_on_from_there(
        self, killed, resumed
    ):
        said, states = killed
        assert "Traceback" not in said
        assert states["DataFolderExampleGen"] == "COMPLETE"
        assert states[LOST] == "FAILED" and "TwoTowerTrainer" not in states
        assert resumed["DataFolderExampleGen"] == "CACHED"
        # TFX notes a resolver that finds nothing as failed, and goes on.
        failed = {node for node, state in resumed.items() if state == "FAILED"}
        assert failed == {"PreviousStatisticsCatalogue", "PreviousStatisticsInteractions"}
        assert set(resumed.values()) == {"CACHED", "COMPLETE", "FAILED"}

    def test_nothing_stays_of_what_the_killed_stage_wrote(self, place, resumed):
        assert len([*(place.root / "artifacts" / LOST / "transform_graph").iterdir()]) == 1

    def test_every_beam_stage_is_run_again(self):
        assert {node for lane in LANES for node in lane} == {*NODES, DESCRIBING}

    def test_two_workers_outside_the_runner_did_it(self, by_the_pool, pool, other_pool):
        assert pool.most >= 1
        assert other_pool.most >= 1
