"""Labels in models.config, under a server that reads it as `debut serve` has it read."""

import threading

import grpc
import pytest
import requests

from components.version_folder import promote, push, refresh_labels
from models.errors import BadInput
from serving.client import Client
from serving.version_labels import (
    CANARY,
    STABLE,
    config_file,
    read_labels,
    versions_on_disk,
    write_labels,
)
from tests.serving import saved_models
from tests.serving.conftest import unknown_yet, wait_until
from tests.serving.saved_models import float_request


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    """SavedModels that answer with 10, 20 and 30 times what they are asked."""
    folder = tmp_path_factory.mktemp("candidates")
    for number in (1, 2, 3):
        saved_models.save_scale(str(folder), number, 10 * number)
    return [folder / str(number) for number in (1, 2, 3)]


@pytest.fixture
def base(tmp_path):
    return tmp_path / "serving" / "scale"


def serve(start_server, base):
    return start_server(
        f"--model_config_file={refresh_labels(base)}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        "--file_system_poll_wait_seconds=1",
    )


def ask(server, label=None):
    """The version that answers, and by what it multiplies."""
    request = float_request([1.0])
    if label:
        request.model_spec.version_label = label
    answer = server.prediction.Predict(request, timeout=30)
    return answer.model_spec.version.value, answer.outputs["y"].float_val[0]


class LabelTraffic:
    """Clients that ask by label without a pause."""

    def __init__(self, server, label):
        self.answers, self.failures = [], []
        self._server, self._label = server, label
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self._stop.is_set():
            try:
                self.answers.append(ask(self._server, self._label))
            except grpc.RpcError as error:
                self.failures.append(error)

    def wait_for(self, version):
        for _ in range(600):
            if self.answers and self.answers[-1][0] == version:
                return
            self._stop.wait(0.05)
        raise AssertionError(f"{self._label} never reached {version}: {self.failures[:1]}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def test_each_label_answers_with_its_version_and_promotion_fails_no_request(
    start_server, base, candidates
):
    first = int(push(candidates[0], base).name)
    server = serve(start_server, base)
    with LabelTraffic(server, STABLE) as traffic:
        second = int(push(candidates[1], base, canary=True).name)
        server.wait_for("scale", second, "AVAILABLE")
        with pytest.raises(grpc.RpcError):
            ask(server, "no-such-label")
        target = f"127.0.0.1:{server.grpc_port}"
        with Client(target, model="scale", label="no-such-label") as client:
            assert client.status()  # asks about all versions
            with pytest.raises(BadInput, match="no-such-label"):
                client.metadata()
        with Client(target, model="scale", label=STABLE) as client:
            assert client.metadata()
        traffic.wait_for(first)

        def canary_answers():  # the label comes with the next read of the file
            with unknown_yet():
                return ask(server, CANARY) == (second, 20.0)

        wait_until(canary_answers, "the canary answers")
        assert ask(server, STABLE) == (first, 10.0)
        assert ask(server) == (second, 20.0)  # no label: the newest, as in the stock server
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/scale/labels/{STABLE}:predict"
        assert requests.post(url, json={"instances": [2.0]}).json() == {"predictions": [20.0]}

        assert promote(base) == second
        traffic.wait_for(second)
        third = int(push(candidates[2], base).name)
        traffic.wait_for(third)
    assert not traffic.failures
    assert [v for v, _ in traffic.answers] == sorted(v for v, _ in traffic.answers)
    assert {version for version, _ in traffic.answers} == {first, second, third}


class TestLabels:
    """What is written, without a server."""

    def test_a_push_is_stable_at_once_and_drops_the_canary(self, base, candidates):
        first = int(push(candidates[0], base, canary=True).name)
        assert read_labels(base) == {STABLE: first}  # there is nothing else to be stable
        second = int(push(candidates[1], base, canary=True).name)
        assert read_labels(base) == {STABLE: first, CANARY: second}
        third = int(push(candidates[2], base).name)
        assert read_labels(base) == {STABLE: third}

    def test_the_file_asks_for_one_version_before_the_oldest_labelled(self, base, candidates):
        for canary in (False, True, True):
            push(candidates[0], base, canary=canary)
        assert "num_versions: 4" in config_file(base).read_text()
        assert promote(base) == versions_on_disk(base)[0]
        assert "num_versions: 2" in config_file(base).read_text()
        assert promote(base) is None

    def test_old_versions_go_but_never_a_labelled_one(self, base, candidates):
        stable = int(push(candidates[0], base).name)
        pushed = [int(push(candidates[1], base, canary=True, keep=2).name) for _ in range(3)]
        assert versions_on_disk(base) == [pushed[2], pushed[1], stable]

    def test_what_a_killed_push_left_goes_with_the_next_one(self, base, candidates):
        push(candidates[0], base)
        for name in (".incoming-1-2", ".outgoing-7"):
            (base / name).mkdir()
            (base / name / "half").write_text("x")
        push(candidates[1], base)
        assert all(path.name.isdigit() for path in base.iterdir())

    def test_a_label_of_a_folder_that_is_gone_is_not_written(self, base, candidates):
        first, second = (int(push(candidates[0], base).name) for _ in range(2))
        write_labels(base, {STABLE: first, CANARY: second})
        (base / str(first)).rename(base.parent / "elsewhere")
        assert read_labels(base) == {STABLE: second}

    @pytest.mark.parametrize("content", [b"stable: 3", b"model_config_list {", b"# \xff"])
    def test_a_file_that_no_push_wrote_is_bad_input_by_its_name(self, base, candidates, content):
        push(candidates[0], base)
        config_file(base).write_bytes(content)
        with pytest.raises(BadInput, match=r"serving/models.config .* or remove it"):
            push(candidates[1], base)
        assert len(list(base.iterdir())) == 1
        config_file(base).unlink()
        push(candidates[1], base)
        assert read_labels(base) == {STABLE: versions_on_disk(base)[0]}

    def test_a_root_that_was_moved_gets_its_new_path(self, base, candidates, tmp_path):
        push(candidates[0], base)
        moved = tmp_path / "moved"
        base.parent.rename(moved)
        refresh_labels(moved / "scale")
        assert str(moved / "scale") in config_file(moved / "scale").read_text()
