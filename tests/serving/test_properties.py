"""Requests that no client of ours would send: one canonical answer each, and a good one next.

DEBUT_SERVING_EXAMPLES sets how many of each kind are generated.
"""

import json
import os
import urllib.parse

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.serving.conformance import models
from tests.serving.conftest import Servers

EXAMPLES = int(os.environ.get("DEBUT_SERVING_EXAMPLES", "60"))
generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 1000,  # `make test` asks the same every time, a long run does not
    suppress_health_check=list(HealthCheck),
)

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
METHODS = {
    f"/{PREDICTION}/Predict": predict_pb2.PredictRequest,
    f"/{PREDICTION}/Classify": classification_pb2.ClassificationRequest,
    f"/{PREDICTION}/Regress": regression_pb2.RegressionRequest,
    f"/{PREDICTION}/MultiInference": inference_pb2.MultiInferenceRequest,
    f"/{PREDICTION}/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    f"/{MODEL}/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}
STATUSES = {200, 400, 401, 403, 404, 409, 413, 429, 499, 500, 501, 503, 504}
SIGNATURES = {
    "line": ["serving_default", "classify", "classify_both", "regress", "odd_method"],
    "kinds": [name for name in models.KINDS if name != "slow"],
    "dtypes": [*models.DTYPES, *(f"to_{n}" for n in models.DTYPES), "no_inputs", "nested_bytes"],
    "words": ["serving_default"],
}
ALIASES = ["x", "s", "i", "f", "b", "k", "idx", "text", "inputs", "image_bytes", "", "zz"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    config = models.write(tmp_path_factory.mktemp("properties"))
    servers = Servers()
    yield servers(f"--model_config_file={config}")
    servers.stop()


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(
        f"127.0.0.1:{server.grpc_port}", options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        yield channel


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


texts = st.one_of(
    st.text(max_size=30),
    st.builds(lambda c, n: c * n, st.characters(codec="utf-8"), st.integers(0, 20_000)),
)
others = texts.filter(lambda text: text != "tensorflow")
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2, -1]))


@st.composite
def specs(draw):
    """A `ModelSpec`: mostly of a model and signature that are there."""
    spec = model_pb2.ModelSpec()
    model = draw(st.sampled_from([*SIGNATURES, "defaults", "plain"]))
    spec.name = draw(st.one_of(st.just(model), st.just(model), texts))
    known = st.sampled_from(SIGNATURES.get(model, ["two", "only"]))
    spec.signature_name = draw(st.one_of(known, known, st.just(""), texts))
    choice = draw(st.sampled_from(["none", "none", "none", "version", "label"]))
    if choice == "version":
        spec.version.value = draw(numbers)
    elif choice == "label":
        spec.version_label = draw(texts)
    return spec


@st.composite
def typed_tensors(draw):
    """A tensor that parses, of any dtype and shape."""
    dtype = draw(st.sampled_from([*models.DTYPES.values(), tf.string]))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape))
    if dtype == tf.string:
        values = draw(st.lists(st.binary(max_size=20), min_size=size, max_size=size))
        return tf.make_tensor_proto(np.array(values, object).reshape(shape), tf.string, shape)
    content = draw(st.binary(min_size=size * dtype.size, max_size=size * dtype.size))
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_content=content)
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


@st.composite
def odd_tensors(draw):
    """A tensor whose dtype, shape and values need not fit each other."""
    proto = tensor_pb2.TensorProto()
    proto.dtype = draw(st.sampled_from(types_pb2.DataType.values()))
    sizes = st.one_of(st.integers(0, 3), st.sampled_from([-1, -(2**63), 2**31, 2**62, 2**63 - 1]))
    for size in draw(st.lists(sizes, max_size=5)):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.booleans())
    proto.tensor_content = draw(st.binary(max_size=40))
    proto.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    proto.string_val.extend(draw(st.lists(st.binary(max_size=10), max_size=4)))
    proto.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    proto.half_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2)))
    return proto


def example(features):
    message = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, float):
            message.features.feature[name].float_list.value.append(value)
        elif isinstance(value, int):
            message.features.feature[name].int64_list.value.append(value)
        else:
            message.features.feature[name].bytes_list.value.append(value)
    return message


values = st.one_of(st.floats(width=32), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=9))
examples = st.dictionaries(st.sampled_from(["x", "x2", "q", ""]), values).map(example)


@st.composite
def calls(draw):
    """(method, serialized request): of every method, well-formed as protobuf."""
    method = draw(st.sampled_from([*METHODS, f"/{PREDICTION}/Predict", f"/{PREDICTION}/Predict"]))
    message = METHODS[method]()
    if draw(st.integers(0, 9)) and not isinstance(message, inference_pb2.MultiInferenceRequest):
        message.model_spec.CopyFrom(draw(specs()))
    if isinstance(message, predict_pb2.PredictRequest):
        for alias in draw(st.lists(st.sampled_from(ALIASES), max_size=5)):
            message.inputs[alias].CopyFrom(draw(st.one_of(typed_tensors(), odd_tensors())))
        message.output_filter.extend(draw(st.lists(st.sampled_from(["y", "out", ""]), max_size=2)))
    elif isinstance(message, get_model_metadata_pb2.GetModelMetadataRequest):
        fields = st.lists(st.one_of(st.just("signature_def"), texts), max_size=3)
        message.metadata_field.extend(draw(fields))
    elif not isinstance(message, get_model_status_pb2.GetModelStatusRequest):
        message.input.example_list.examples.extend(draw(st.lists(examples, max_size=3)))
        if draw(st.booleans()):
            context = message.input.example_list_with_context
            context.context.CopyFrom(draw(examples))
            context.examples.extend(draw(st.lists(examples, max_size=3)))
    if isinstance(message, inference_pb2.MultiInferenceRequest):
        for spec in draw(st.lists(specs(), max_size=3)):
            task = message.tasks.add(method_name=draw(st.one_of(st.sampled_from(KINDS), texts)))
            task.model_spec.CopyFrom(spec)
    return method, message.SerializeToString()


KINDS = [f"tensorflow/serving/{kind}" for kind in ("classify", "regress", "predict")]


def ask(channel, method, data):
    """Code name and message; of bytes, so that they need not be a message."""
    try:
        channel.unary_unary(method, None, None)(data, timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def check_answer(code, message):
    # A wrong request is never our fault: INTERNAL would be an exception nobody thought of.
    assert code not in ("UNKNOWN", "INTERNAL", "CANCELLED", "UNAVAILABLE", "DEADLINE_EXCEEDED"), (
        code,
        message,
    )


def check_still_answers(channel):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "line"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))
    answer = channel.unary_unary(
        f"/{PREDICTION}/Predict",
        predict_pb2.PredictRequest.SerializeToString,
        predict_pb2.PredictResponse.FromString,
    )(request, timeout=60)
    assert answer.outputs["y"].float_val[:] == [3.5]


@generated
@given(call=calls())
def test_any_request_has_a_canonical_answer(channel, call):
    check_answer(*ask(channel, *call))
    check_still_answers(channel)


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag:RuntimeWarning")
@generated
@given(call=calls(), at=st.floats(0, 1), junk=st.binary(max_size=12))
def test_any_damaged_message_has_a_canonical_answer(channel, call, at, junk):
    method, data = call
    place = int(at * len(data))
    for damaged in (data[:place], data[:place] + junk + data[place:]):
        code, message = ask(channel, method, damaged)
        if (code, message) != ("INTERNAL", "Exception deserializing request!"):  # gRPC's own
            check_answer(code, message)
    check_still_answers(channel)


@generated
@given(
    signature=st.sampled_from(SIGNATURES["dtypes"]),
    tensor=st.one_of(typed_tensors(), odd_tensors()),
)
def test_any_tensor_is_taken_or_refused_by_every_dtype(channel, signature, tensor):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "dtypes"
    request.model_spec.signature_name = signature
    request.inputs["s" if signature == "nested_bytes" else "x"].CopyFrom(tensor)
    check_answer(*ask(channel, f"/{PREDICTION}/Predict", request.SerializeToString()))
    check_still_answers(channel)


@generated
@given(
    st.lists(
        st.builds(
            dict,
            name=texts,
            base_path=st.one_of(st.sampled_from(["", "relative", "gs://x", "/absent"]), texts),
            model_platform=st.one_of(st.sampled_from(["", "other"]), others),
            version_labels=st.dictionaries(texts, numbers, max_size=2),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_configuration_that_names_no_tensorflow_model_is_refused(channel, entries):
    request = model_management_pb2.ReloadConfigRequest()
    for entry in entries:
        request.config.model_config_list.config.add(**entry)
    method = f"/{MODEL}/HandleReloadConfigRequest"
    code, _ = ask(channel, method, request.SerializeToString())
    assert code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
    check_still_answers(channel)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        texts,
        st.builds(lambda data: {"b64": data}, st.one_of(st.text(max_size=8), st.integers())),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(ALIASES), inner, max_size=4),
    ),
    max_leaves=8,
)
bodies = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.one_of(
                st.sampled_from(sorted({n for names in SIGNATURES.values() for n in names})),
                json_values,
            ),
            "instances": st.one_of(json_values, st.lists(json_values, max_size=3)),
            "inputs": json_values,
            "examples": st.one_of(json_values, st.lists(json_values, max_size=3)),
            "context": json_values,
        },
    ).map(lambda document: json.dumps(document).encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
    st.builds(lambda depth, c: c * depth, st.integers(0, 30_000), st.sampled_from([b"[", b"{"])),
    st.builds(lambda n: b'{"inputs":' + b"[" * n + b"]" * n + b"}", st.integers(0, 2000)),
    st.builds(lambda n: b'{"inputs":' + b"9" * n + b"}", st.integers(0, 5000)),
)
paths = st.one_of(
    st.builds(
        "/v1/models/{}:{}".format,
        st.sampled_from([*SIGNATURES, "line/versions/1", "absent"]),
        st.sampled_from(["predict", "classify", "regress"]),
    ),
    st.builds(lambda text: "/v1/" + urllib.parse.quote(text, safe="/:%@?[]"), st.text(max_size=40)),
)


def check_rest_answers(server, session):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/line:predict"
    answer = session.post(url, data=b'{"instances":[1.0]}', timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.5]})


@generated
@given(path=paths, body=bodies, method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]))
def test_any_rest_request_has_a_canonical_status_and_a_body_that_says_why(
    server, session, path, body, method
):
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    answer = session.request(method, url, data=body, timeout=60)
    assert answer.status_code in STATUSES - {500, 503, 504}, answer.text
    if answer.status_code not in (200, 404) and answer.text:
        assert list(answer.json()) == ["error"]
    check_rest_answers(server, session)


@generated
@given(
    kind=st.sampled_from(["f32", "f64", "i8", "i16", "i32", "i64", "u8", "u32", "u64"]),
    rows=st.lists(st.one_of(st.integers(-(2**65), 2**65), st.floats()), min_size=1, max_size=3),
)
def test_any_number_over_rest_comes_back_as_its_dtype_holds_it_or_is_refused(
    server, session, kind, rows
):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/dtypes:predict"
    body = json.dumps({"signature_name": kind, "inputs": rows})
    answer = session.post(url, data=body, timeout=60)
    if answer.status_code == 400:
        assert "is not of expected type" in answer.json()["error"]
        assert kind not in ("f32", "f64")
        return
    assert answer.status_code == 200
    dtype = models.DTYPES[kind].as_numpy_dtype
    got = answer.json()["outputs"]
    if kind in ("f32", "f64"):
        assert np.array(got, dtype).tobytes() == _held(rows, dtype).tobytes()
    else:
        assert got == [_wrapped(row, dtype) for row in rows]


def _held(rows, dtype):
    """The nearest numbers of a dtype; what it holds only as a denormal is zero."""
    with np.errstate(all="ignore"):
        held = np.array([float(row) for row in rows]).astype(dtype)
    held[np.abs(held) < np.finfo(dtype).tiny] *= 0
    return np.where(np.isnan(held), np.array(float("nan"), dtype), held)


def _wrapped(row, dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return (row - int(low)) % (int(high) - int(low) + 1) + int(low)
