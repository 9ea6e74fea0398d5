"""Health and reflection over gRPC, and what a watcher sees of a drain."""

import queue
import threading
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from serving import flags
from serving import server as server_module
from serving.ports import free_port
from serving.rpc import health
from serving.server import ModelServer
from tests.serving.conftest import endpoint
from tests.serving.saved_models import Held

Status = health_pb2.HealthCheckResponse


def channel(server):
    return grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")


def check(stub, service):
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20).status


def test_health_knows_the_stock_names_and_no_other(start_server, models):
    server = start_server(
        f"--model_base_path={models / 'scale'}", "--enable_grpc_healthcheck_service"
    )
    with channel(server) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        for name in ("", "ModelService", "PredictionService"):
            assert check(stub, name) == Status.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            check(stub, "tensorflow.serving.PredictionService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "service name unknown"


def test_health_is_off_without_its_flag(suite):
    with channel(suite) as opened, pytest.raises(grpc.RpcError) as caught:
        check(health_pb2_grpc.HealthStub(opened), "")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_answers_while_every_request_thread_is_busy(start_server, models, tmp_path):
    server = start_server(
        "--model_name=probe",
        f"--model_base_path={models / 'probe'}",
        "--enable_grpc_healthcheck_service",
        "--grpc_max_threads=1",
    )
    held = Held(server, tmp_path)
    with channel(server) as opened:
        assert check(health_pb2_grpc.HealthStub(opened), "") == Status.SERVING
    assert held.let_go().model_spec.version.value == 1


def test_watcher_sees_the_drain_and_the_request_in_flight_finishes(models, tmp_path):
    port = free_port()
    parsed = flags.parse(
        [
            f"--port={port}",
            "--bind_address=127.0.0.1",
            "--model_name=probe",
            f"--model_base_path={models / 'probe'}",
            "--enable_grpc_healthcheck_service",
        ]
    )
    running = ModelServer(parsed, threading.Event())
    running.start()
    with endpoint(port) as server, channel(server) as opened:
        held = Held(server, tmp_path)
        request = health_pb2.HealthCheckRequest(service="PredictionService")
        states = health_pb2_grpc.HealthStub(opened).Watch(request, timeout=60)
        assert next(states).status == Status.SERVING
        draining = threading.Thread(target=running.drain)
        draining.start()
        assert next(states).status == Status.NOT_SERVING
        # The stream ends by itself, and not when the server's grace is over.
        assert [state.status for state in states] == []
        assert states.code() is grpc.StatusCode.OK
        assert draining.is_alive()
        assert held.let_go().model_spec.version.value == 1
    draining.join(60)
    assert not draining.is_alive()


def reflection_stream(opened):
    """A reflection stream that its client leaves open, and what sends the client's requests."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    stub = reflection_pb2_grpc.ServerReflectionStub(opened)
    return stub.ServerReflectionInfo(iter(requests.get, None), timeout=60), requests


def test_a_drain_ends_reflection_streams_that_clients_leave_open(models, monkeypatch):
    monkeypatch.setattr(server_module, "DRAIN_SECONDS", 3600.0)  # whatever ends, it is not that
    port = free_port()
    parsed = flags.parse(
        [
            *(f"--port={port}", "--bind_address=127.0.0.1"),
            *("--model_name=scale", f"--model_base_path={models / 'scale'}"),
        ]
    )
    running = ModelServer(parsed, threading.Event())
    running.start()
    with endpoint(port) as server, channel(server) as opened:
        answers, requests = reflection_stream(opened)
        assert next(answers).list_services_response.service
        draining = threading.Thread(target=running.drain, daemon=True)
        draining.start()
        with pytest.raises(grpc.RpcError):
            next(answers)
        assert answers.code() is grpc.StatusCode.CANCELLED
        draining.join(60)
        assert not draining.is_alive()
        requests.put(None)


def test_reflection_streams_that_clients_leave_open_do_not_keep_others_out(suite, monkeypatch):
    monkeypatch.setattr(health, "_REFLECTION_SECONDS", 0.2)
    with channel(suite) as opened:
        left_open = [reflection_stream(opened) for _ in range(4)]  # of two threads
        for answers, requests in left_open:
            with pytest.raises(grpc.RpcError):
                list(answers)
            assert answers.code() is grpc.StatusCode.CANCELLED
            requests.put(None)


def reflect(server, **query):
    with channel(server) as opened:
        stub = reflection_pb2_grpc.ServerReflectionStub(opened)
        request = reflection_pb2.ServerReflectionRequest(**query)
        return next(stub.ServerReflectionInfo(iter([request]), timeout=20))


def test_reflection_names_the_services_and_describes_them(suite):
    listed = reflect(suite, list_services="").list_services_response.service
    assert {service.name for service in listed} == {
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    symbol = "tensorflow.serving.PredictionService"
    files = reflect(suite, file_containing_symbol=symbol).file_descriptor_response
    described = [
        descriptor_pb2.FileDescriptorProto.FromString(data) for data in files.file_descriptor_proto
    ]
    methods = {
        method.name
        for file in described
        for service in file.service
        if f"{file.package}.{service.name}" == symbol
        for method in service.method
    }
    assert methods == {"Classify", "Regress", "Predict", "MultiInference", "GetModelMetadata"}
