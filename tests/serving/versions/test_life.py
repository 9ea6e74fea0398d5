"""Versions come and go under a running server, as folders come and go under its base path."""

import shutil
import threading
import time

import grpc
import pytest
from tensorflow_serving.apis import model_management_pb2

from serving.versions.served_model import ServedModel
from tests.serving import saved_models
from tests.serving.saved_models import float_request

QUICK = ("--max_num_load_retries=0", "--file_system_poll_wait_seconds=1")
MISSING = (
    "Specified file path does not appear to contain a SavedModel bundle"
    " (should have a file called `saved_model.pb`)\nSpecified file path: "
)


@pytest.fixture
def base(tmp_path):
    """A base path with version 1."""
    folder = tmp_path / "scale"
    folder.mkdir()
    saved_models.save_scale(str(folder), 1, 10)
    return folder


def serve(start_server, base, *flags):
    return start_server("--model_name=scale", f"--model_base_path={base}", *QUICK, *flags)


class Traffic:
    """Clients that ask without a pause; every answer's version, and every failure."""

    def __init__(self, server, clients=4):
        self.versions: list[list[int]] = [[] for _ in range(clients)]
        self.failures = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(server, seen)) for seen in self.versions
        ]

    def _ask(self, server, seen):
        while not self._stop.is_set():
            try:
                answer = server.prediction.Predict(float_request([1.0]), timeout=30)
            except grpc.RpcError as error:
                self.failures.append(error)
                return
            version = answer.model_spec.version.value
            assert answer.outputs["y"].float_val[0] == 10.0 * version
            seen.append(version)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_new_version_takes_over_without_a_failed_request_and_never_back(start_server, base):
    server = serve(start_server, base)
    with Traffic(server) as traffic:
        for version in (2, 3):
            saved_models.save_scale(str(base), version, 10 * version)
            server.wait_for("scale", version, "AVAILABLE")
            server.wait_for("scale", version - 1, "END")
    assert not traffic.failures
    for seen in traffic.versions:
        assert seen == sorted(seen)
    assert {1, 2} <= set().union(*traffic.versions)
    assert {version: state[0] for version, state in server.states("scale").items()} == {
        3: "AVAILABLE",
        2: "END",
        1: "END",
    }


def test_broken_new_version_ends_with_its_error_and_the_old_one_keeps_serving(start_server, base):
    server = serve(start_server, base)
    (base / "2").mkdir()
    server.wait_for("scale", 2, "END")
    assert server.states("scale")[2] == ("END", 5, f"{MISSING}{base}/2")
    assert server.prediction.Predict(float_request([1.0])).model_spec.version.value == 1
    saved_models.save_scale(str(base), 3, 30)
    server.wait_for("scale", 3, "AVAILABLE")
    assert server.prediction.Predict(float_request([1.0])).model_spec.version.value == 3


def test_version_repaired_within_its_retries_becomes_available(start_server, base):
    server = start_server(
        "--model_name=scale", f"--model_base_path={base}", "--load_retry_interval_micros=300000"
    )
    (base / "2").mkdir()
    server.wait_for("scale", 2, "LOADING")
    saved_models.save_scale(str(base), 7, 20)
    shutil.copytree(base / "7", base / "2", dirs_exist_ok=True)
    shutil.rmtree(base / "7")
    server.wait_for("scale", 2, "AVAILABLE")


def test_newer_version_does_not_wait_for_the_retries_of_a_broken_one(start_server, base):
    server = start_server("--model_name=scale", f"--model_base_path={base}")  # retries 60 s apart
    (base / "2").mkdir()
    server.wait_for("scale", 2, "LOADING")
    saved_models.save_scale(str(base), 3, 30)
    server.wait_for("scale", 3, "AVAILABLE")
    assert server.states("scale")[2][0] == "END"


def test_names_that_are_no_numbers_are_ignored_and_leading_zeros_are_not(start_server, base):
    for name in ("3.part", "v4", "tmp", "3x"):
        (base / name).mkdir()
    server = serve(start_server, base)
    saved_models.save_scale(str(base), "007", 70)
    server.wait_for("scale", 7, "AVAILABLE")
    assert set(server.states("scale")) == {1, 7}


def test_vanished_base_path_leaves_the_model_serving(start_server, base):
    server = serve(start_server, base)
    shutil.rmtree(base)
    time.sleep(2.5)  # two looks at the base path
    assert server.prediction.Predict(float_request([1.0])).model_spec.version.value == 1


def test_vanished_version_is_unloaded(start_server, base):
    server = serve(start_server, base)
    shutil.rmtree(base / "1")
    server.wait_for("scale", 1, "END")
    with pytest.raises(grpc.RpcError, match="Servable not found"):
        server.prediction.Predict(float_request([1.0]))


def test_request_in_flight_finishes_on_its_version_while_that_unloads(
    start_server, models, tmp_path
):
    server = start_server("--model_name=probe", f"--model_base_path={models / 'probe'}")
    held = saved_models.Held(server, tmp_path)
    reload(server)
    server.wait_for("probe", 1, "UNLOADING")
    with pytest.raises(grpc.RpcError, match="Servable not found"):
        server.prediction.Predict(held.request)
    assert held.let_go().model_spec.version.value == 1
    server.wait_for("probe", 1, "END")


def config(*models, **options):
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for name, path in models:
        entry = request.config.model_config_list.config.add(
            name=name, base_path=str(path), model_platform=options.get("platform", "tensorflow")
        )
        entry.version_labels.update(options.get("labels", {}))
        entry.model_version_policy.specific.versions.extend(options.get("versions", ()))
        if not options.get("versions"):
            entry.ClearField("model_version_policy")
    return request


def reload(server, *models, **options):
    return server.models.HandleReloadConfigRequest(config(*models, **options), timeout=60)


def refusal(server, *models, **options):
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, *models, **options)
    return caught.value.code().name, caught.value.details()


def test_reload_supersedes_and_answers_when_the_new_model_is_up(start_server, base, models):
    server = serve(start_server, base)
    reload(server, ("probe", models / "probe"))
    assert server.states("probe")[1][0] == "AVAILABLE"
    server.wait_for("scale", 1, "END")
    reload(server, ("scale", base))
    assert server.states("scale")[1][0] == "AVAILABLE"


def test_labels_point_to_versions_that_answer(start_server, models):
    server = start_server("--model_name=scale", f"--model_base_path={models / 'scale'}")
    source = ("scale", models / "scale")
    reload(server, source, versions=[1, 2])
    server.wait_for("scale", 2, "AVAILABLE")
    server.wait_for("scale", 1, "AVAILABLE")
    reload(server, source, versions=[1, 2], labels={"stable": 1, "canary": 2})
    request = float_request([1.0])
    request.model_spec.version_label = "stable"
    assert server.prediction.Predict(request).model_spec.version.value == 1
    assert refusal(server, source, versions=[1, 2], labels={"stable": 9}) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 9 of model scale,"
        " which is not currently available for inference",
    )
    assert server.prediction.Predict(request).model_spec.version.value == 1


def test_label_moves_before_the_version_that_it_leaves_can_go(start_server, models, monkeypatch):
    server = start_server("--model_name=scale", f"--model_base_path={models / 'scale'}")
    source = ("scale", models / "scale")
    reload(server, source, versions=[2, 3])
    server.wait_for("scale", 2, "AVAILABLE")
    reload(server, source, versions=[2, 3], labels={"stable": 2})
    request = float_request([1.0])
    request.model_spec.version_label = "stable"
    answers = []
    serve = ServedModel.serve

    def asked(model, *arguments, **options):
        answers.append(server.prediction.Predict(request).model_spec.version.value)
        serve(model, *arguments, **options)

    monkeypatch.setattr(ServedModel, "serve", asked)
    reload(server, source, versions=[3], labels={"stable": 3})
    assert answers == [3]


def test_refused_reload_changes_nothing(start_server, base, models):
    server = serve(start_server, base)
    probe = ("probe", models / "probe")
    assert refusal(server, ("scale", base), ("scale", base)) == (
        "INVALID_ARGUMENT",
        "Illegal to list model scale multiple times in config list",
    )
    assert refusal(server, ("scale", "some/where")) == (
        "INVALID_ARGUMENT",
        "Expected model scale to have an absolute path or URI; got base_path()=some/where",
    )
    assert refusal(server, probe, platform="pytorch") == (
        "INVALID_ARGUMENT",
        "Model probe requests unsupported platform pytorch",
    )
    assert refusal(server, probe, platform="") == (
        "INVALID_ARGUMENT",
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
        " ModelServerConfig::model_platform, model name is probe",
    )
    assert refusal(server, ("scale", base), platform="other") == (
        "INVALID_ARGUMENT",
        "Illegal to change a model's platform. For model scale platform was tensorflow"
        " and new platform requested is other",
    )
    assert server.prediction.Predict(float_request([1.0])).model_spec.version.value == 1
    reload(server, ("scale", base), probe)  # a good one is still taken


def test_reload_of_a_model_that_can_not_be_loaded_says_why(start_server, base, tmp_path):
    server = serve(start_server, base)
    (tmp_path / "corrupt" / "1").mkdir(parents=True)
    (tmp_path / "corrupt" / "1" / "saved_model.pb").write_bytes(b"\xff" * 50)
    assert refusal(server, ("scale", base), ("corrupt", tmp_path / "corrupt")) == (
        "UNKNOWN",
        "1 model(s) did not become available: {{{name: corrupt version: 1} due to error:"
        " OUT_OF_RANGE: Read less bytes than requested}, }",
    )
    assert server.states("corrupt")[1] == ("END", 11, "Read less bytes than requested")


def test_reload_of_a_model_fails_with_its_newest_version_and_loads_the_older_one_then(
    start_server, base, tmp_path
):
    """The stock server loads one version after the other, and looks at the newest that ended."""
    server = start_server(
        "--model_name=scale",
        f"--model_base_path={base}",
        "--max_num_load_retries=2",
        "--load_retry_interval_micros=100000",
    )
    shutil.copytree(base, tmp_path / "other")
    (tmp_path / "other" / "2").mkdir()
    request = config(("scale", base), ("other", tmp_path / "other"))
    request.config.model_config_list.config[1].model_version_policy.all.SetInParent()
    with pytest.raises(grpc.RpcError) as caught:
        server.models.HandleReloadConfigRequest(request, timeout=60)
    assert (caught.value.code().name, caught.value.details()) == (
        "UNKNOWN",
        "1 model(s) did not become available: {{{name: other version: 2} due to error:"
        f" NOT_FOUND: {MISSING}{tmp_path}/other/2}}, }}",
    )
    server.wait_for("other", 1, "AVAILABLE")
    assert server.states("other")[2][0] == "END"


def test_of_several_versions_in_place_of_a_broken_one_the_newest_stays(start_server, base):
    saved_models.save_scale(str(base), 2, 20)
    server = serve(start_server, base)
    reload(server, ("scale", base), versions=[1, 2])
    server.wait_for("scale", 1, "AVAILABLE")
    (base / "3").mkdir()
    reload(server, ("scale", base), versions=[3])
    server.wait_for("scale", 3, "END")
    states = {version: state[0] for version, state in server.states("scale").items()}
    assert states == {3: "END", 2: "AVAILABLE", 1: "END"}


def test_reload_waits_for_an_absent_path_and_does_not_block_the_next_one(
    start_server, base, tmp_path, monkeypatch
):
    later, waits, wait = tmp_path / "later", threading.Semaphore(0), ServedModel.wait_until_settled

    def counted(model, seconds):
        if model.name == "later":
            waits.release()
        return wait(model, seconds)

    monkeypatch.setattr(ServedModel, "wait_until_settled", counted)
    server, both = serve(start_server, base), (("scale", base), ("later", later))
    waiting = server.models.HandleReloadConfigRequest.future(config(*both), timeout=120)
    for _ in range(3):  # that it waits no longer is looked at in between
        assert waits.acquire(timeout=60)
    reload(server, *both)
    assert not waiting.done()
    later.mkdir()
    saved_models.save_scale(str(later), 1, 10)
    waiting.result()
    assert server.states("later")[1][0] == "AVAILABLE"


def test_status_of_what_was_never_there_is_not_found(suite):
    for name, text in (("nope", "Could not find any versions of model nope"),):
        with pytest.raises(grpc.RpcError) as caught:
            suite.states(name)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, text)
