"""Every Beam stage on a Flink cluster of this machine, against the runner of one process.

`make test-flink`. Without Beam's job server, which translates pipelines for Flink, what needs it is
skipped; the cluster and the pool of workers are started all the same.
"""

import time

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from tests.portable.comparing import SameResults
from tests.portable.flink import TASK_MANAGERS, cluster, job_server, libraries
from tests.portable.workplace import Workplace, finished

pytestmark = [pytest.mark.flink, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def flink(tmp_path_factory):
    home, reason = libraries()
    if home is None:
        pytest.skip(reason)
    with cluster(home, tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory, server):
    place = Workplace.make(tmp_path_factory.mktemp("on-flink"))
    finished(place.run("direct"))
    return place


@pytest.fixture(scope="module")
def server():
    flags, reason = job_server()
    if not flags:
        pytest.skip(reason)
    return flags


@pytest.fixture(scope="module")
def direct(server, place):
    return place.stages("direct", "direct")


@pytest.fixture(scope="module")
def portable(server, place, flink, pool):
    return place.stages("flink", "flink", [*server, *flink.flags, *pool.flags])


class TestFlink(SameResults):
    def test_the_cluster_has_a_slot_on_each_task_manager(self, flink):
        found = flink.overview()
        assert (found["taskmanagers"], found["slots-total"]) == (TASK_MANAGERS, TASK_MANAGERS)
        assert str(found["flink-version"]).startswith("1.20")

    def test_the_pool_starts_a_worker_for_each_task_manager(self, pool):
        nowhere = endpoints_pb2.ApiServiceDescriptor(url="localhost:1")
        with grpc.insecure_channel(f"localhost:{pool.port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            asked = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            names = [f"worker-{number}" for number in range(TASK_MANAGERS)]
            for name in names:
                answer = asked.StartWorker(
                    beam_fn_api_pb2.StartWorkerRequest(worker_id=name, control_endpoint=nowhere)
                )
                assert not answer.error
            assert len(pool.workers()) == TASK_MANAGERS
            for name in names:
                asked.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=name))
        assert _none_left(pool)


def _none_left(pool) -> bool:
    deadline = time.monotonic() + 60
    while pool.workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not pool.workers()
