import contextlib
import socket
import threading
import time
from dataclasses import dataclass

import grpc
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving import flags
from serving.ports import free_port
from serving.server import ModelServer
from tests.serving import saved_models
from tests.serving.clients import CLIENTS


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, what, seen=""):
    """Looks again and again, as long as a slow machine may need; says what was seen if in vain."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"It never came about that {what}. {seen}")


@contextlib.contextmanager
def unknown_yet():
    """Lets pass that a server does not know of a model or a label."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
            raise


@dataclass
class Endpoint:
    """A server on real ports, and stubs to it."""

    grpc_port: int
    rest_port: int
    prediction: prediction_service_pb2_grpc.PredictionServiceStub
    models: model_service_pb2_grpc.ModelServiceStub

    def states(self, model):
        """Version to (state name, error code, error text)."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        answer = self.models.GetModelStatus(request, timeout=10)
        return {
            entry.version: (
                get_model_status_pb2.ModelVersionStatus.State.Name(entry.state),
                entry.status.error_code,
                entry.status.error_message,
            )
            for entry in answer.model_version_status
        }

    def wait_for(self, model, version, state):
        """Waits until a version is in a state, be its model not even known yet."""
        seen = {}

        def is_so():
            with unknown_yet():
                seen.update(self.states(model))
            return seen.get(version, ("",))[0] == state

        wait_until(is_so, f"{model} {version} is {state}", seen)


@contextlib.contextmanager
def endpoint(grpc_port, rest_port=0):
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=unlimited) as channel:
        yield Endpoint(
            grpc_port,
            rest_port,
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


class Servers:
    """Starts servers inside the test's process, on real ports; stops them at the end."""

    def __init__(self):
        self._running = contextlib.ExitStack()

    def __call__(self, *arguments):
        ports = free_port(), free_port()
        parsed = flags.parse(
            [
                f"--port={ports[0]}",
                f"--rest_api_port={ports[1]}",
                "--bind_address=127.0.0.1",
                *arguments,
            ]
        )
        assert not parsed.unknown and not parsed.lacking
        stopping = threading.Event()
        server = ModelServer(parsed, stopping)
        server.start()
        self._running.callback(server.drain)
        self._running.callback(stopping.set)
        return self._running.enter_context(endpoint(*ports))

    def stop(self):
        self._running.close()


@pytest.fixture
def start_server():
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture(params=CLIENTS)
def connect(request):
    """The class of each client in turn; all tests hold for both."""
    return CLIENTS[request.param]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder with scale (versions 1, 2, 3: factors 10, 20, 30), probe, shop, examples."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("scale", "probe", "shop", "examples"):
        (folder / name).mkdir()
    for version in (1, 2, 3):
        saved_models.save_scale(str(folder / "scale"), version, 10 * version)
    saved_models.save_probe(str(folder / "probe"))
    saved_models.save_shop(str(folder / "shop"))
    saved_models.save_examples(str(folder / "examples"))
    return folder


@pytest.fixture(scope="session")
def suite(models, tmp_path_factory):
    """One server of all models; `scale` has every version."""
    config = saved_models.write_config(
        tmp_path_factory.mktemp("config") / "models.config",
        {name: models / name for name in ("scale", "probe", "shop", "examples")},
        {"scale": "model_version_policy { all {} }"},
    )
    servers = Servers()
    yield servers(f"--model_config_file={config}")
    servers.stop()
