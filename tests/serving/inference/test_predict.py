"""The error table of Predict and GetModelMetadata, over gRPC, in the words a client matches on."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from serving.inference.predict import predict
from serving.runtime.servable import Servable
from serving.status import StatusError
from tests.serving.saved_models import float_request

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def request(model, signature="", *, outputs=(), **inputs):
    message = predict_pb2.PredictRequest(output_filter=outputs)
    message.model_spec.name = model
    message.model_spec.signature_name = signature
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


def failure(call, message):
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=30)
    return caught.value.code(), caught.value.details()


A = np.ones([2, 2], np.float32)
B = np.full([2, 2], 3, np.int32)


def test_answer_has_typed_fields_and_the_resolved_model_spec(suite):
    answer = suite.prediction.Predict(float_request([1.0, 2.0]), timeout=30)
    assert list(answer.outputs["y"].float_val) == [30.0, 60.0]
    assert not answer.outputs["y"].tensor_content
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("scale", 3, "serving_default")


def test_a_version_can_be_named(suite):
    answer = suite.prediction.Predict(float_request([1.0], version=2), timeout=30)
    assert answer.outputs["y"].float_val[0] == 20.0
    assert answer.model_spec.version.value == 2


def test_inputs_of_every_rank_run_because_shapes_are_not_checked(suite):
    answer = suite.prediction.Predict(float_request([[1.0], [2.0]]), timeout=30)
    assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == [2, 1]
    scalar = suite.prediction.Predict(float_request(1.5), timeout=30).outputs["y"]
    assert scalar.HasField("tensor_shape") and not scalar.tensor_shape.dim
    assert scalar.float_val[0] == 45.0


def test_output_filter_selects(suite):
    answer = suite.prediction.Predict(request("probe", "two", outputs=["first"], a=A, b=B))
    assert set(answer.outputs) == {"first"}


def test_strings_pass_byte_for_byte(suite):
    values = np.array([b"\xff\x00", "é".encode(), b""], object)
    answer = suite.prediction.Predict(request("probe", "echo", text=values))
    assert list(answer.outputs["plain"].string_val) == values.tolist()


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (predict_pb2.PredictRequest(), INVALID, "Missing ModelSpec"),
        (request("", x=1.0), INVALID, "ModelSpec has no name specified."),
        (
            request("nope"),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(nope)",
        ),
        (
            float_request([1.0], version=9),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Specific(scale, 9)",
        ),
        (
            request("probe"),
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "serving_default" not found.',
        ),
        (
            request("probe", "two", a=A, b=B, zz=1.0),
            INVALID,
            "input size does not match signature: 3!=2 len({a,b,zz}) != len({a,b})."
            " Sent extra: {zz}. Missing but required: {}.",
        ),
        (
            request("probe", "two", a=A),
            INVALID,
            "input size does not match signature: 1!=2 len({a}) != len({a,b})."
            " Sent extra: {}. Missing but required: {b}.",
        ),
        (
            request("probe", "two", a=A, c=B),
            INVALID,
            "Signature input alias: b(feed name: two_b:0) not found in request and no default"
            " value provided. Inputs expected to be in the request {a,c},"
            " or default input alias set: ",
        ),
        (
            request("probe", "two", a=A.astype(np.float64), b=B),
            INVALID,
            "Expects arg[0] to be float but double is provided",
        ),
        (
            request("probe", "two", a=A, b=B.astype(np.int64)),
            INVALID,
            "Expects arg[1] to be int32 but int64 is provided",
        ),
        (
            request("probe", "two", outputs=["nope"], a=A, b=B),
            INVALID,
            "output tensor alias not found in signature: nope"
            " Outputs expected to be in the set {first,product}.",
        ),
        (
            request("probe", "two", outputs=["first", "first"], a=A, b=B),
            INVALID,
            "duplicate output tensor alias: first",
        ),
    ],
)
def test_refusal_has_the_stock_servers_code_and_text(suite, message, code, text):
    assert failure(suite.prediction.Predict, message) == (code, text)


def test_unparsable_tensor_is_named(suite):
    message = float_request([1.0])
    message.inputs["x"].tensor_content = b"123"
    text = "tensor parsing error: x"
    assert failure(suite.prediction.Predict, message) == (INVALID, text)


def test_unknown_label_is_refused(suite):
    message = float_request([1.0])
    message.model_spec.version_label = "stable"
    code, text = failure(suite.prediction.Predict, message)
    assert (code, text) == (INVALID, "Unrecognized servable version label: stable")


def test_an_op_that_fails_answers_with_its_own_message(suite):
    code, text = failure(
        suite.prediction.Predict, float_request([1.0, -2.0], model="probe", signature="positive")
    )
    assert code is INVALID
    assert text.startswith("assertion failed: [give more")
    assert "[[{{" in text
    three_rows = np.ones([3, 2], np.int32)
    code, text = failure(suite.prediction.Predict, request("probe", "two", a=A, b=three_rows))
    assert code is INVALID
    assert text.startswith("Incompatible shapes: ")


def test_a_long_message_is_cut(suite):
    code, text = failure(suite.prediction.Predict, request("n" * 3000))
    assert code is grpc.StatusCode.NOT_FOUND
    assert len(text) == 1024 + len("...TRUNCATED")


def test_server_answers_after_bytes_that_are_no_message(suite):
    channel = grpc.insecure_channel(f"127.0.0.1:{suite.grpc_port}")
    with channel, pytest.raises(grpc.RpcError) as caught:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", None, None)
        call(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert suite.prediction.Predict(float_request([1.0])).outputs["y"].float_val[0] == 30.0


def test_metadata_holds_the_signatures_as_saved(suite):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "probe"
    answer = suite.prediction.GetModelMetadata(message, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert {"two", "echo", "positive", "slow"} <= set(signatures.signature_def)
    assert signatures.signature_def["two"].inputs["b"].dtype == tf.int32.as_datatype_enum
    assert answer.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "zz"], "Metadata field zz is not supported"),
    ],
)
def test_metadata_fields_are_checked(suite, fields, text):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    message.model_spec.name = "scale"
    assert failure(suite.prediction.GetModelMetadata, message) == (INVALID, text)


def test_an_input_of_a_dtype_that_is_not_fed_here_is_refused_in_words(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.qint8, [None])
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / "1"), {"x": x}, {"y": tf.bitcast(x, tf.int8)}
        )
    servable = Servable(str(tmp_path / "1"), model="quantized", version=1)
    message = predict_pb2.PredictRequest()
    message.inputs["x"].dtype = tf.qint8.as_datatype_enum
    with pytest.raises(StatusError, match="UNIMPLEMENTED: The embedded server feeds no qint8"):
        predict(servable, message)
    servable.close()
