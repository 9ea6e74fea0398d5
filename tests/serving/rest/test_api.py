import base64
import gzip
import json
import math
import re

import numpy as np
import pytest
import requests
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.rest.json_tensors import decode_base64
from serving.rest.json_writer import debug_string, decimal
from serving.rest.message_json import message_json
from serving.rest.predict_body import response_json
from serving.status import StatusError


@pytest.fixture
def ask(suite):
    def call(path, body=None, method=None, **options):
        text = json.dumps(body) if isinstance(body, dict) else body
        method = method or ("GET" if body is None else "POST")
        url = f"http://127.0.0.1:{suite.rest_port}{path}"
        return requests.request(method, url, data=text, timeout=30, **options)

    return call


def error(answer):
    return answer.status_code, answer.json()["error"]


def test_rows_answer_in_rows(ask):
    answer = ask("/v1/models/scale:predict", {"instances": [1.0, 2.5]})
    assert answer.text == '{\n    "predictions": [30.0, 75.0\n    ]\n}'
    assert answer.headers["Content-Type"] == "application/json"


def test_columns_answer_in_columns(ask):
    answer = ask("/v1/models/scale/versions/1:predict", {"inputs": {"x": [1.0, 2.0]}})
    assert answer.text == '{\n    "outputs": [\n        10.0,\n        20.0\n    ]\n}'


def test_several_inputs_and_outputs_are_named(ask):
    rows = [{"a": [1.0, 2.0], "b": [3, 4]}, {"a": [5.0, 6.0], "b": [7, 8]}]
    answer = ask("/v1/models/probe:predict", {"signature_name": "two", "instances": rows})
    assert answer.json()["predictions"] == [
        {"first": 1.0, "product": [3.0, 8.0]},
        {"first": 5.0, "product": [35.0, 48.0]},
    ]


def test_binary_travels_as_base64_and_outputs_named_bytes_too(ask):
    body = {"signature_name": "echo", "inputs": ["é", {"b64": base64.b64encode(b"ab").decode()}]}
    outputs = ask("/v1/models/probe:predict", body).json()["outputs"]
    assert outputs["plain"] == ["é", "ab"]
    encoded = [base64.b64encode(value).decode() for value in ("é".encode(), b"ab")]
    assert outputs["raw_bytes"] == [{"b64": text} for text in encoded]


def test_rows_of_bytes_alone_leave_the_other_inputs_missing(ask):
    body = {"signature_name": "score", "instances": [{"b64": "YQ=="}]}
    status, text = error(ask("/v1/models/shop:predict", body))
    assert status == 400
    assert re.fullmatch(
        r"input size does not match signature: 1!=4 len\(\{(\w+)\}\) != len\(\{history,item_id,"
        r"profile,user_id\}\)\. Sent extra: \{\}\. Missing but required: \{(?!.*\1)\w+,\w+,\w+\}\.",
        text,
    )


def test_not_a_number_and_infinity_pass(ask):
    answer = ask("/v1/models/scale:predict", '{"instances": [NaN, Infinity, -Infinity]}')
    assert answer.text == '{\n    "predictions": [NaN, Infinity, -Infinity\n    ]\n}'


def test_status_names_states_and_metadata_names_signatures(ask):
    [entry] = ask("/v1/models/scale/versions/2").json()["model_version_status"]
    assert entry == {
        "version": "2",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    metadata = ask("/v1/models/scale/versions/2/metadata").json()
    assert metadata["model_spec"] == {"name": "scale", "signature_name": "", "version": "2"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"


def test_members_of_metadata_are_in_the_order_of_their_definition_and_choices_last(ask):
    """Recorded as `rest.meta`."""
    metadata = ask("/v1/models/scale/metadata").json()
    assert list(metadata["model_spec"]) == ["name", "signature_name", "version"]
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert list(signature) == ["inputs", "outputs", "method_name", "defaults"]
    tensor = signature["inputs"]["x"]
    assert list(tensor) == ["dtype", "tensor_shape", "name"]
    assert list(tensor["tensor_shape"]) == ["dim", "unknown_rank"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("größe 猫 🐈", "größe 猫 🐈"),
        ("<a>&'", r"\u003ca\u003e&'"),
        ('"\\\b\t\n\x0b\f\r\x1f', r"\"\\\b\t\n\u000b\f\r\u001f"),
        ("\x7f\x9f\xa0\xad", "\\u007f\\u009f\xa0\\u00ad"),
        ("\u200b\u2028\ufeff\U000e0001", r"\u200b\u2028\ufeff\udb40\udc01"),
    ],
)
def test_text_in_a_message_is_escaped_as_protobuf_does(text, written):
    message = model_pb2.ModelSpec(name="m", signature_name=text)
    assert message_json(message) == f'{{\n "name": "m",\n "signature_name": "{written}"\n}}\n'


def test_examples_get_a_label_and_score_each_or_a_number_each(ask):
    body = {"signature_name": "regress", "examples": [{"x": 1.5}, {"x": [2.0]}]}
    assert ask("/v1/models/examples:regress", body).text == '{\n    "results": [3.0, 4.0]\n}'
    body["signature_name"] = "classify"
    answer = ask("/v1/models/examples:classify", body)
    assert answer.json()["results"] == [[["double", 3.0]], [["double", 4.0]]]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/models/nope:predict", {"instances": [1.0]}, 404,
         "Servable not found for request: Latest(nope)"),
        ("/v1/models/scale:predict", {"signature_name": "zz", "instances": [1.0]}, 400,
         'Serving signature name: "zz" not found in signature def'),
        ("/v1/models/scale:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("/v1/models/scale:predict", "", 400, "JSON Parse error: The document is empty"),
        ("/v1/models/scale:predict", '{"instances":[1.0,', 400,
         "JSON Parse error: Invalid value. at offset: 18"),
        ("/v1/models/scale:predict", {"instances": ["a"]}, 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT:"
         ' JSON Value: "a" Type: String is not of expected type: float'),
        ("/v1/models/scale:predict", {"instances": [[1.0], [1.0, 2.0]]}, 400,
         "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT:"
         " Expecting tensor size: 1 but got: 2"),
        ("/v1/models/probe:predict",
         {"signature_name": "two", "inputs": {"a": [[1.0, 2.0]], "b": [[3.5, 4]]}}, 400,
         "JSON Value: 3.5 Type: Number is not of expected type: int32"),
        ("/v1/models/probe:predict", {"signature_name": "two", "inputs": {"a": [[1.0, 2.0]]}}, 400,
         "Missing named input: b in 'inputs' object."),
        ("/v1/models/scale:zz", {}, 400, "Malformed request: POST /v1/models/scale:zz"),
        ("/v1/models/scale/versions/9", None, 404, "Could not find version 9 of model scale"),
        ("/v1/models", None, 400, "Missing model name in request."),
    ],
)  # fmt: skip
def test_refusal_has_the_stock_servers_status_and_text(ask, path, body, status, text):
    assert error(ask(path, body)) == (status, text)


@pytest.mark.parametrize("name", [b"\xff", rb"\udc80"])
@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_name_of_a_signature_that_is_no_unicode_is_an_unknown_one(ask, verb, name):
    body = b'{"signature_name": "%s", "instances": [1.0], "examples": [{"x": 1.0}]}' % name
    status, text = error(ask(f"/v1/models/scale:{verb}", body))
    assert status == 400
    assert "\ufffd" in text


KIND = "Unexpected element type in feature: x expecting type: "


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ("9223372036854775808", "Feature: x has uint64_t element. Only int64_t is supported."),
        ("[1.5,9223372036854775808]", KIND + "float"),
        ('[1.5,{"b64":"!"}]', KIND + "float"),
        ("[1,18446744073709551616]", KIND + "int64"),
    ],
)
def test_feature_that_no_list_holds_is_refused(ask, x, text):
    body = f'{{"signature_name":"regress","examples":[{{"x":{x}}}]}}'
    assert error(ask("/v1/models/examples:regress", body)) == (400, text)


@pytest.mark.parametrize("x", ["-9223372036854775809", "18446744073709551616", "1e19"])
def test_number_that_64_bits_can_not_hold_is_a_float_feature(ask, x):
    body = f'{{"signature_name":"regress","examples":[{{"x":{x}}}]}}'
    answer = ask("/v1/models/examples:regress", body)
    assert answer.json()["results"] == [pytest.approx(2 * float(x))]


def test_paths_outside_the_api_are_pages(ask):
    answer = ask("/metrics")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html")


def test_compressed_and_chunked_bodies_are_read(ask):
    packed = gzip.compress(b'{"instances":[1.0]}')
    answer = ask("/v1/models/scale:predict", packed, headers={"Content-Encoding": "gzip"})
    assert answer.json() == {"predictions": [30.0]}
    answer = ask("/v1/models/scale:predict", iter([b'{"instances"', b":[1.0]}"]))
    assert answer.json() == {"predictions": [30.0]}


def test_cors_headers_only_where_asked_for_and_only_below_v1(ask, start_server, models, tmp_path):
    assert "Access-Control-Allow-Origin" not in ask("/v1/models/scale").headers
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/page" }')
    server = start_server(
        f"--model_base_path={models / 'scale'}",
        "--rest_api_enable_cors_support",
        f"--monitoring_config_file={monitoring}",
    )
    for path, status in (("/page", 200), ("/page?x", 400), ("/elsewhere", 404)):
        page = requests.get(f"http://127.0.0.1:{server.rest_port}{path}", timeout=10)
        assert page.status_code == status
        assert "Access-Control-Allow-Origin" not in page.headers
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/default"
    assert requests.get(url, timeout=10).headers["Access-Control-Allow-Origin"] == "*"
    preflight = requests.options(url, headers={"Origin": "https://shop"}, timeout=10)
    assert (preflight.status_code, preflight.text) == (200, "")
    assert preflight.headers["Access-Control-Allow-Methods"] == "POST, GET"
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert requests.options(url, timeout=10).status_code == 400  # from no page
    refused = requests.post(f"{url}:predict", data=b"zz", timeout=10)
    assert refused.status_code == 400
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_slow_graph_is_given_up_after_the_time_limit(start_server, models):
    server = start_server(
        "--model_name=probe",
        f"--model_base_path={models / 'probe'}",
        "--rest_api_timeout_in_ms=200",
    )
    answer = requests.post(
        f"http://127.0.0.1:{server.rest_port}/v1/models/probe:predict",
        json={"signature_name": "slow", "inputs": 1_000_000},
        timeout=60,
    )
    assert error(answer) == (504, "Timed out waiting for notification")


@settings(max_examples=200, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_float32_text_reads_back_the_same_and_is_never_an_integer(value):
    text = decimal(value, np.float32)
    assert np.float32(text) == np.float32(value)
    assert "." in text or "e" in text


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_float64_text_reads_back_the_same(value):
    assert float(decimal(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e10, "1e+10"),
        (0.1, "0.1"),
        (123456.789, "123456.789"),
        (1e-46, "0.0"),
        (1e-40, "0.0"),
        (-2.5e-310, "-0.0"),
        ([2.5e-310, -2.5e-310, 1e-300], "[\n    0.0,\n    -0.0,\n    1e-300\n]"),
        (3.4028235e38, "3.4028234999999999e+38"),
        (1e300, "1e+300"),
        (2**64, "1.84467441e+19"),
        (2**63, "9223372036854775808"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (True, "true"),
        ([1.0], "[\n    1.0\n]"),
        ({"a": [1e39], "b": None}, '{\n    "a": [\n        1e39\n    ],\n    "b": null\n}'),
        ({"a": 1, "b": [2, math.nan, 3]}, '{\n    "a": 1,\n    "b": [\n        2,\n        '),
        ({"a": math.inf, "b": 1}, '{\n    "a": '),
    ],
)
def test_values_are_quoted_as_the_stock_server_quotes_them(value, text):
    """Numbers alone as in answers, others as RapidJSON; a NaN inside ends the quote."""
    assert debug_string(value) == text


def test_quotes_are_whole_however_long_and_end_where_python_can_not_follow():
    elements = ["x" * 100] * 10
    assert debug_string(elements) == json.dumps(elements, indent=4)
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert debug_string(deep).startswith("[\n    [\n        [")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("aGk=", b"hi"),
        ("aGk", b"hi"),
        ("aGk.", b"hi"),
        ("aGl=", b"hi"),
        (" aG\nk= ", b"hi"),
        ("YQ==", b"a"),
        ("YQ = =", b"a"),
        ("", b""),
    ],
)
def test_base64_is_read_as_abseil_reads_it(text, value):
    assert decode_base64({"b64": text}) == value


@pytest.mark.parametrize("text", ["a", "aGk==", "YQ=", "a-_=", "!!", "=aGk", "aG=k", "aGkh="])
def test_what_abseil_does_not_read_as_base64_is_refused(text):
    with pytest.raises(StatusError, match="Unable to base64 decode"):
        decode_base64({"b64": text})


@pytest.mark.parametrize(
    ("dtype", "field", "denormal"),
    [(tf.float32, "float_val", 1e-40), (tf.float64, "double_val", 1e-310)],
)
def test_denormals_in_an_answer_are_zeros(dtype, field, denormal):
    """Recorded as `types.f64_fmt`."""
    response = predict_pb2.PredictResponse()
    response.outputs["y"].dtype = dtype.as_datatype_enum
    response.outputs["y"].tensor_shape.dim.add(size=3)
    getattr(response.outputs["y"], field).extend([denormal, -denormal, 0.5])
    assert response_json(response, rows=True) == '{\n    "predictions": [0.0, -0.0, 0.5\n    ]\n}'


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64"])
@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [([0], [], []), ([0, 3], [], []), ([2, 0], [[], []], [[], []])],
)
def test_empty_output_of_a_type_without_a_json_form_is_written(dtype, shape, rows, columns):
    response = predict_pb2.PredictResponse()
    tensor = tf.make_tensor_proto(np.zeros(shape), getattr(tf, dtype), shape)
    response.outputs["y"].CopyFrom(tensor)
    assert json.loads(response_json(response, rows=True)) == {"predictions": rows}
    assert json.loads(response_json(response, rows=False)) == {"outputs": columns}
