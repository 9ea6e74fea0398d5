"""The states that versions go through, as a client that keeps asking sees them."""

import shutil
import time

import grpc
import pytest

from serving.status import StatusError
from tests.serving import saved_models
from tests.serving.conftest import Servers
from tests.serving.saved_models import float_request

ORDER = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "scale"
    folder.mkdir()
    return folder


def serve(start_server, base, *flags, policy=""):
    config = saved_models.write_config(
        base.parent / "models.config", {"scale": base}, {"scale": policy}
    )
    return start_server(f"--model_config_file={config}", *flags)


EVERY = "model_version_policy { all {} }"


def seen_until(server, version, state):
    """Version to state, at every ask until that version is in that state."""
    seen: list[dict[int, str]] = []
    until = time.monotonic() + 60
    while not seen or seen[-1].get(version) != state:
        assert time.monotonic() < until, seen[-1]
        seen.append({v: state for v, (state, _, _) in server.states("scale").items()})
    return seen


def factor(server, version=None, model="scale"):
    request = float_request([1.0], model=model, version=version)
    answer = server.prediction.Predict(request, timeout=30)
    return answer.outputs["y"].float_val[0]


def test_states_come_in_order_and_the_old_version_leaves_after_the_new_one_has_come(
    start_server, base
):
    saved_models.save_scale(str(base), 1, 10)
    server = serve(start_server, base)
    saved_models.save_scale(str(base), 2, 20)
    seen = seen_until(server, 1, "END")
    for version in (1, 2):
        places = [ORDER.index(states[version]) for states in seen if version in states]
        assert places == sorted(places)
    for states in seen:
        assert "AVAILABLE" in states.values()
        if states[1] in ("UNLOADING", "END"):
            assert states[2] == "AVAILABLE"


def test_older_version_comes_back_before_the_vanished_newest_one_leaves(start_server, base):
    for version in (1, 2):
        saved_models.save_scale(str(base), version, 10 * version)
    server = serve(start_server, base)
    assert factor(server) == 20.0
    shutil.rmtree(base / "2")
    for states in seen_until(server, 2, "END"):
        assert "AVAILABLE" in states.values()
    assert factor(server) == 10.0


def test_version_that_vanished_and_returns_serves_again(start_server, base):
    saved_models.save_scale(str(base), 1, 10)
    server = serve(start_server, base)
    shutil.rmtree(base / "1")
    server.wait_for("scale", 1, "END")
    with pytest.raises(grpc.RpcError) as caught:
        factor(server)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "Servable not found for request: Latest(scale)"
    saved_models.save_scale(str(base), 1, 30)
    server.wait_for("scale", 1, "AVAILABLE")
    assert factor(server) == 30.0


@pytest.mark.parametrize("good", [1, 2])
def test_server_starts_with_the_first_version_that_loads_whatever_others_try_again(
    start_server, base, good
):
    """By default a broken version is tried again for five minutes."""
    saved_models.save_scale(str(base), good, 10)
    (base / str(3 - good)).mkdir()
    server = serve(start_server, base, policy=EVERY)
    assert factor(server) == 10.0
    server.wait_for("scale", 3 - good, "LOADING")


def test_versions_of_the_start_answer_when_the_ports_open(start_server, base):
    for version in (1, 2, 3):
        saved_models.save_scale(str(base), version, 10 * version)
    server = serve(start_server, base, policy=EVERY)
    assert {state for state, _, _ in server.states("scale").values()} == {"AVAILABLE"}


def test_server_does_not_start_where_the_newest_version_is_given_up_first(start_server, base):
    saved_models.save_scale(str(base), 1, 10)
    (base / "2").mkdir()
    with pytest.raises(StatusError) as caught:
        serve(start_server, base, "--max_num_load_retries=0", policy=EVERY)
    assert str(caught.value).startswith(
        "UNKNOWN: 1 servable(s) did not become available: {{{name: scale version: 2} due to error:"
    )


def test_an_unwanted_version_leaves_before_a_new_one_comes_where_another_wanted_one_answers(
    start_server, base
):
    for version in (1, 2):
        saved_models.save_scale(str(base), version, 10 * version)
    two = "model_version_policy { latest { num_versions: 2 } }"
    server = serve(start_server, base, policy=two)
    server.wait_for("scale", 1, "AVAILABLE")
    saved_models.save_scale(str(base), "3.part", 30)
    (base / "3.part").rename(base / "3")
    for states in seen_until(server, 3, "AVAILABLE"):
        assert states[2] == "AVAILABLE"
        if states.get(3) in ("LOADING", "AVAILABLE"):
            assert states[1] == "END"


def test_numbers_of_every_kind_are_versions_and_a_plain_file_is_a_broken_one(start_server, base):
    saved_models.save_scale(str(base), 0, 10)
    server = serve(start_server, base, "--max_num_load_retries=0", policy=EVERY)
    assert factor(server) == 10.0
    for name, value in (("-3", 30), ("1700000000123", 40)):
        saved_models.save_scale(str(base), name, value)
    for name in ("abc", "2.tmp", "3x", "v4", ".5", "+8"):
        (base / name).mkdir()
    (base / "6").write_text("no folder")
    for version in (-3, 1700000000123):
        server.wait_for("scale", version, "AVAILABLE")
    server.wait_for("scale", 6, "END")
    states = server.states("scale")
    assert set(states) == {0, -3, 6, 1700000000123}
    assert states[6] == (
        "END",
        9,
        "Error while attempting to reserve resources to load servable"
        f" {{name: scale version: 6}}: {base}/6; Not a directory",
    )
    assert factor(server) == 40.0
    assert factor(server, version=-3) == 30.0
    assert factor(server, version=0) == 10.0


def test_two_names_of_one_number_are_one_version(start_server, base):
    saved_models.save_scale(str(base), "7", 70)
    shutil.copytree(base / "7", base / "007")
    server = serve(start_server, base, policy=EVERY)
    assert {v: state for v, (state, _, _) in server.states("scale").items()} == {7: "AVAILABLE"}
    assert factor(server) == 70.0


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A server after two looks at folders in which nothing happened that counts; and one that does
    not look again, with a new version to find."""
    folder = tmp_path_factory.mktemp("left")
    for name, version in (("newest", 5), ("repaired", 1), ("once", 1)):
        (folder / name).mkdir()
        saved_models.save_scale(str(folder / name), version, 10 * version)
    config = saved_models.write_config(
        folder / "models.config", {name: folder / name for name in ("newest", "repaired")}
    )
    servers = Servers()
    retries = ("--max_num_load_retries=1", "--load_retry_interval_micros=200000")
    looking = servers(f"--model_config_file={config}", *retries)
    not_looking = servers(
        "--model_name=once",
        f"--model_base_path={folder / 'once'}",
        "--file_system_poll_wait_seconds=0",
    )
    (folder / "repaired" / "2").mkdir()
    looking.wait_for("repaired", 2, "END")
    shutil.copytree(folder / "repaired" / "1", folder / "repaired" / "2", dirs_exist_ok=True)
    saved_models.save_scale(str(folder / "newest"), 1, 10)
    shutil.rmtree(folder / "newest" / "5" / "variables")
    shutil.copytree(folder / "newest" / "1" / "variables", folder / "newest" / "5" / "variables")
    saved_models.save_scale(str(folder / "once"), 2, 20)
    time.sleep(2.5)
    yield looking, not_looking
    servers.stop()


def test_older_version_and_rewritten_files_change_nothing(left_alone):
    looking, _ = left_alone
    assert set(looking.states("newest")) == {5}
    assert factor(looking, model="newest") == 50.0


def test_version_that_was_given_up_is_not_tried_again_once_it_is_repaired(left_alone):
    looking, _ = left_alone
    states = {version: state for version, (state, _, _) in looking.states("repaired").items()}
    assert states == {2: "END", 1: "AVAILABLE"}
    assert factor(looking, model="repaired") == 10.0


def test_poll_of_zero_seconds_looks_once(left_alone):
    _, not_looking = left_alone
    assert set(not_looking.states("once")) == {1}
