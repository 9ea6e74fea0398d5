"""Health and reflection, asked with the gRPC project's own clients."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(models, start_server):
    server = start_server(
        f"--model_base_path={models / 'scale'}", "--enable_grpc_healthcheck_service"
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


def check(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    return stub.Check(request, timeout=10).status


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_server_is_healthy_under_the_stock_names(channel, service):
    assert check(channel, service) == SERVING


def test_any_other_name_is_unknown(channel):
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "tensorflow.serving.PredictionService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_without_the_flag_there_is_no_health_service(suite):
    with (
        grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        check(channel, "")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_watcher_learns_that_the_server_drains(channel, start_server):
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    seen = [next(watch).status]
    threading.Thread(target=start_server.stop).start()
    seen.append(next(watch).status)
    watch.cancel()
    assert seen == [SERVING, NOT_SERVING]


def test_reflection_lists_the_services_and_their_messages(suite):
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}") as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        [answer] = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
        names = {service.name for service in answer.list_services_response.service}
        symbol = "tensorflow.serving.PredictionService"
        [found] = ask(
            iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)]),
            timeout=10,
        )
    assert names == {
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert found.file_descriptor_response.file_descriptor_proto
