"""Requests that are wrong by their size: each has a canonical answer, and a good one follows."""

import json

import grpc
import pytest
import requests
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
)

from tests.serving.saved_models import examples_request, float_request

MEGABYTE = 2**20
HUGE = 50 * MEGABYTE
PATH = "/v1/models/scale:predict"


@pytest.fixture(autouse=True)
def answers_afterwards(suite):
    """After each request, over both transports."""
    yield
    answer = suite.prediction.Predict(float_request([1.0]), timeout=60)
    assert answer.outputs["y"].float_val[:] == [30.0]
    answer = post(suite, b'{"instances":[1.0]}')
    assert (answer.status_code, answer.json()) == (200, {"predictions": [30.0]})


def post(suite, body, path=PATH):
    return requests.post(f"http://127.0.0.1:{suite.rest_port}{path}", data=body, timeout=120)


def refused(call, request):
    """Code and message of a refusal; what is quoted in it is cut."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=120)
    assert len(caught.value.details() or "") < 1100
    return caught.value.code().name, caught.value.details()


def text_request(text, signature="echo"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "probe"
    request.model_spec.signature_name = signature
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([text]))
    return request


def test_huge_string_is_answered_like_a_small_one(suite):
    text = b"x" * HUGE
    answer = suite.prediction.Predict(text_request(text), timeout=120)
    assert answer.outputs["plain"].string_val == [text]


def test_huge_string_in_json_is_answered_like_a_small_one(suite):
    text = "x" * HUGE
    body = json.dumps({"signature_name": "echo", "inputs": [text]})
    answer = post(suite, body, "/v1/models/probe:predict")
    assert answer.status_code == 200
    assert answer.json()["outputs"]["plain"] == [text]


NAME = "n" * HUGE


def named(field):
    request = float_request([1.0])
    if field == "version_label":
        request.model_spec.version_label = NAME
    elif field in ("name", "signature_name"):
        setattr(request.model_spec, field, NAME)
    elif field == "alias":
        request.inputs[NAME].CopyFrom(request.inputs["x"])
    else:
        request.output_filter.append(NAME)
    return request


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("name", "NOT_FOUND"),
        ("signature_name", "FAILED_PRECONDITION"),
        ("version_label", "INVALID_ARGUMENT"),
        ("alias", "INVALID_ARGUMENT"),
        ("output", "INVALID_ARGUMENT"),
    ],
)
def test_huge_name_is_refused_like_a_small_one(suite, field, code):
    assert refused(suite.prediction.Predict, named(field))[0] == code


def test_huge_name_in_json_is_refused_like_a_small_one(suite):
    name = "n" * MEGABYTE
    answer = post(suite, json.dumps({"signature_name": name, "inputs": [1.0]}))
    assert answer.status_code == 400
    answer = post(suite, json.dumps({"inputs": {name: [1.0]}}))
    assert answer.status_code == 400
    answer = post(suite, json.dumps({"instances": [{name: 1.0}]}))
    assert answer.status_code == 400


def test_thousands_of_inputs_are_refused(suite):
    request = float_request([1.0])
    for n in range(20_000):
        request.inputs[f"alias-{n}"].CopyFrom(request.inputs["x"])
    code, message = refused(suite.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("input size does not match signature: 20001!=1 len({")
    body = json.dumps({"inputs": {f"alias-{n}": [1.0] for n in range(20_000)}})
    assert post(suite, body).status_code == 400
    body = json.dumps({"instances": [{f"alias-{n}": 1.0 for n in range(20_000)}]})
    assert post(suite, body).status_code == 400


def test_thousands_of_outputs_are_refused(suite):
    request = float_request([1.0])
    request.output_filter.extend(f"output-{n}" for n in range(100_000))
    assert refused(suite.prediction.Predict, request)[0] == "INVALID_ARGUMENT"
    del request.output_filter[:]
    request.output_filter.extend(["y"] * 100_000)
    code, message = refused(suite.prediction.Predict, request)
    assert (code, message) == ("INVALID_ARGUMENT", "duplicate output tensor alias: y")


def test_thousands_of_tasks_fields_and_models_are_refused(suite):
    inference = inference_pb2.MultiInferenceRequest()
    for n in range(10_000):
        task = inference.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name = f"model-{n}"
    assert refused(suite.prediction.MultiInference, inference)[0] == "NOT_FOUND"
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = "scale"
    metadata.metadata_field.extend(f"field-{n}" for n in range(100_000))
    assert refused(suite.prediction.GetModelMetadata, metadata)[0] == "INVALID_ARGUMENT"
    reload = model_management_pb2.ReloadConfigRequest()
    for n in range(10_000):
        reload.config.model_config_list.config.add(name=f"model-{n}", base_path="relative")
    assert refused(suite.models.HandleReloadConfigRequest, reload)[0] == "INVALID_ARGUMENT"


def test_thousands_of_examples_are_answered(suite):
    values = [1.5] * 20_000
    request = examples_request(classification_pb2.ClassificationRequest, "classify", *values)
    answer = suite.prediction.Classify(request, timeout=120)
    assert len(answer.result.classifications) == 20_000


def test_status_of_a_huge_name_is_not_found(suite):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = NAME
    assert refused(suite.models.GetModelStatus, request)[0] == "NOT_FOUND"


SHAPES = {
    "negative": [-1],
    "most negative": [-(2**63)],
    "negative beside zero": [0, -5],
    "huge": [2**62],
    "largest": [2**63 - 1],
    "product overflows": [2**32, 2**32],
    "product overflows to zero": [2**32, 2**32, 0, 2**32],
    "product overflows to a small one": [2**33, 2**31, 1],
    "more dimensions than an array has": [1] * 255,
    "thousands of dimensions": [1] * 5000,
    "larger than memory": [2**40],
}
KINDS = [types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_INT64, types_pb2.DT_FLOAT_REF]


@pytest.mark.parametrize("content", [b"", b"\0" * 8])
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_that_no_tensor_has_is_refused(suite, shape, dtype, content):
    request = float_request([1.0])
    tensor = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
    for size in SHAPES[shape]:
        tensor.tensor_shape.dim.add(size=size)
    request.inputs["x"].CopyFrom(tensor)
    code, message = refused(suite.prediction.Predict, request)
    assert (code, message) == ("INVALID_ARGUMENT", "tensor parsing error: x")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"inputs":'])
@pytest.mark.parametrize("depth", [900, 30_000, 2_000_000])
@pytest.mark.parametrize("is_closed", [True, False])
def test_deep_json_is_refused(suite, opening, depth, is_closed):
    closing = (b"]" if opening == b"[" else b"}") * depth if is_closed else b""
    answer = post(suite, b'{"inputs":' + opening * depth + b"1" + closing + b"}")
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_huge_number_in_json_is_refused(suite):
    answer = post(suite, b'{"inputs":[' + b"9" * (5 * MEGABYTE) + b"]}")
    assert answer.status_code == 400
    assert "Number too big to be stored in double." in answer.json()["error"]
