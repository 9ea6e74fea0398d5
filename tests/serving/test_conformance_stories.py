"""Stories of the conformance table: a server's answers in the order of what happens to it.

They start servers of their own, so they are told of the embedded one only.
"""

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml
from tensorflow_serving.apis import get_model_status_pb2

from serving import flags
from serving.server import ModelServer
from serving.status import StatusError
from tests.serving.conformance import models as conformance
from tests.serving.conformance import notation

STORIES = Path(__file__).parent / "conformance" / "stories"
SERVED = [{"name": "line", "path": "store"}]
SECONDS = 60


def _told(*files):
    for name in files:
        for entry in yaml.safe_load((STORIES / f"{name}.yaml").read_text(encoding="utf-8")):
            yield pytest.param(entry, id=f"{name}/{entry.get('id') or entry['story']}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """store (versions 1, 2, 3 of the line), line (1, 2), corrupt, hollow, empty; never `later`."""
    folder = tmp_path_factory.mktemp("stories")
    conformance.write_stories(folder)
    return folder


class Teller:
    """Takes the steps of a story on a server, and compares."""

    def __init__(self, server, folder):
        self._server = server
        self._folder = folder

    def take(self, step: dict[str, Any]) -> None:
        [kind] = step.keys() & {"reload", "status", "predict", "ask"}
        getattr(self, f"_{kind}")(step)

    def _reload(self, step):
        request = notation.request("HandleReloadConfigRequest", reload_request(step, self._folder))
        call = self._server.models.HandleReloadConfigRequest
        answer = self._call(call, request, step, timeout=step.get("within", SECONDS))
        if answer is not None:
            assert notation.given(answer) == {"status": {}, **step.get("answer", {})}

    def _predict(self, step):
        entry = {"spec": step["predict"], "inputs": {"x": {"float": [1.0]}}}
        request = notation.request("Predict", entry)
        answer = self._call(self._server.prediction.Predict, request, step)
        if answer is not None:
            assert answer.outputs["y"].float_val[:] == [step["y"]]

    def _status(self, step):
        request = notation.request("GetModelStatus", {"spec": step["status"]})
        until = time.monotonic() + SECONDS
        while True:
            answer = self._call(self._server.models.GetModelStatus, request, step)
            if answer is None or _states(answer) == step["is"]:
                break
            assert time.monotonic() < until, (_states(answer), step)
            time.sleep(0.02)
        for version, reason in step.get("because", {}).items():
            [status] = [s.status for s in answer.model_version_status if s.version == version]
            plain = notation.given(status)
            assert [plain["error_code"], plain["error_message"]] == reason

    def _ask(self, step):
        method, _, path = step["ask"].partition(" ")
        url = f"http://127.0.0.1:{self._server.rest_port}{path}"
        body = step["body"].encode() if "body" in step else None
        answer = requests.request(method, url, data=body, timeout=SECONDS)
        assert answer.status_code == step["code"], answer.text
        if "text" in step:
            assert answer.text == step["text"]
        elif "includes" in step:
            assert step["includes"].items() <= answer.json().items()
        else:
            assert answer.json() == step["answer"]

    def _call(self, call, request, step, *, timeout=SECONDS):
        """The answer; None where it is the refusal that the step expects."""
        if "code" not in step:
            return call(request, timeout=timeout)
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=timeout)
        assert caught.value.code().name == step["code"]
        if "message" in step:
            assert caught.value.details() == step["message"].replace("{models}", str(self._folder))
        return None


def _states(answer):
    name = get_model_status_pb2.ModelVersionStatus.State.Name
    return {entry.version: name(entry.state) for entry in answer.model_version_status}


def reload_request(step, folder):
    """A step's `reload` (models; null: `config` is the whole configuration, if there is one)."""
    if step["reload"] is None:
        return {"config": step["config"]} if "config" in step else {}
    models = [_model(model, folder) for model in step["reload"]]
    names = {"metric_names": step["metric_names"]} if "metric_names" in step else {}
    return {"config": {"model_config_list": {"config": models}}, **names}


def _model(entry, folder):
    model = {"model_platform": "tensorflow"} | entry
    if path := model.pop("path", None):
        model["base_path"] = f"{folder}/{path}"
    if "base_path" in model:
        model["base_path"] = model["base_path"].replace("{models}", str(folder))
    return model


@pytest.mark.parametrize("story", _told("reload", "labels", "names"))
def test_story(story, start_server, folder, tmp_path):
    config = tmp_path / "models.config"
    starts = reload_request({"reload": story.get("starts", SERVED)}, folder)
    message = notation.request("HandleReloadConfigRequest", starts)
    config.write_text(str(message.config))
    server = start_server(f"--model_config_file={config}", *story.get("flags", ()))
    teller = Teller(server, folder)
    for step in story["steps"]:
        teller.take(step)
        for after in story.get("then", ()):
            teller.take(after)


@pytest.mark.parametrize("entry", _told("start"))
def test_start_is_refused(entry, folder, tmp_path):
    config = tmp_path / "models.config"

    def named(text):
        return text.replace("{models}", str(folder)).replace("{config}", str(config))

    arguments = [named(flag) for flag in entry.get("flags", ())]
    if "config" in entry:
        config.write_text(named(entry["config"]))
        arguments.append(f"--model_config_file={config}")
    with pytest.raises(StatusError) as caught:
        ModelServer(flags.parse(arguments), threading.Event()).start()
    assert str(caught.value) == named(entry["refused"])
