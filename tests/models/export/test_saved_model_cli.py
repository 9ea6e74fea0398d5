"""Requests made as a person makes them with `saved_model_cli`, who has nothing but the folder.

`show` says which signatures there are and what goes in; `run` answers in process, and the server
answers the same.
"""

import contextlib
import io
import re
import shutil

import numpy as np
import pytest
import requests
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from tensorflow.python.tools import saved_model_cli
from tensorflow_serving.apis import predict_pb2

from tests.serving.conftest import Servers

# What a person types. Between them they have every kind of input: switches and numbers, texts and
# prices, one and two dimensions. To load the model for a command takes seconds.
TYPED = {
    "recommend": (
        'user_id=["user-003","nobody"];history=[["item-001","item-010"],["item-020",""]];'
        'profile=["","likes tea"];k=4;new_only=False'
    ),
    "explain": ('user_id=["user-001"];history=[["item-001"]];profile=[""];item_id=["item-009"]'),
    "audience": (
        'item_id=["item-007",""];title=["","red glass star"];category=["",""];brand=["","Acme"];'
        'description=["",""];price=[0.1,2.5];k=5'
    ),
}
DTYPES = {"BOOL": tf.bool, "FLOAT": tf.float32, "INT32": tf.int32, "STRING": tf.string}
EXAMPLES = (
    'examples=[{"user_id":["user-001"],"item_id":["item-007"]},'
    '{"user_id":["nobody"],"item_id":["item-020"]}]'
)


def saved_model(command, folder, *arguments):
    """`saved_model_cli COMMAND --dir FOLDER …`; returns what it prints."""
    words = ["saved_model_cli", command, f"--dir={folder}", "--tag_set=serve", *arguments]
    with flagsaver.flagsaver(), contextlib.redirect_stdout(io.StringIO()) as printed:
        flags.FLAGS(words)
        getattr(saved_model_cli, command)()
    return printed.getvalue()


def shown_inputs(folder, signature):
    """Name to (dtype, rank) of each input that `show` prints."""
    printed = saved_model("show", folder, f"--signature_def={signature}")
    inputs = printed.partition("output(s)")[0]
    found = re.findall(
        r"inputs\['(\w+)'\] tensor_info:\s+dtype: DT_(\w+)\s+shape: \(([-\d, ]*)\)", inputs
    )
    return {
        name: (DTYPES[dtype], len(shape.split(",")) if shape else 0) for name, dtype, shape in found
    }


def answered_in_process(folder, out, signature, *arguments):
    """Output name to array, as `run` writes them."""
    saved_model("run", folder, f"--signature_def={signature}", f"--outdir={out}", *arguments)
    return {file.stem: np.load(file, allow_pickle=True) for file in out.glob("*.npy")}


@pytest.fixture(scope="module")
def server(served, tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    shutil.copytree(served.path, base / "1")
    servers = Servers()
    yield servers("--model_name=debut", f"--model_base_path={base}")
    servers.stop()


def ask(server, signature, inputs, shown):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "debut"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        dtype, _ = shown[name]
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
    answer = server.prediction.Predict(request, timeout=60)
    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def ask_rest(server, signature, inputs, expected):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/debut:predict"
    body = {"signature_name": signature, "inputs": inputs}
    outputs = requests.post(url, json=body, timeout=60).json()["outputs"]
    if len(expected) == 1:  # a single output has no name in REST
        outputs = dict.fromkeys(expected, outputs)
    return {
        name: np.char.encode(value, "utf-8").astype(object)
        if expected[name].dtype == object
        else np.array(value, expected[name].dtype)
        for name, value in outputs.items()
    }


def assert_same(got, expected):
    assert got.keys() == expected.keys() and got
    for name, value in expected.items():
        if value.dtype == object:
            assert got[name].tolist() == value.tolist()
        else:
            assert got[name].dtype == value.dtype
            np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)


def test_show_lists_the_signatures(served):
    printed = saved_model("show", served.path)
    keys = set(re.findall(r'SignatureDef key: "(\w+)"', printed))
    assert keys - {"__saved_model_init_op"} == set(served.loaded.signatures)


@pytest.mark.parametrize("signature", TYPED)
def test_server_answers_typed_inputs_as_run_does(served, server, tmp_path, signature):
    shown = shown_inputs(served.path, signature)
    typed = saved_model_cli.load_inputs_from_input_arg_string("", TYPED[signature], "")
    ranks = {name: rank for name, (_, rank) in shown.items()}
    assert {name: np.ndim(value) for name, value in typed.items()} == ranks
    expected = answered_in_process(
        served.path, tmp_path, signature, f"--input_exprs={TYPED[signature]}"
    )
    assert_same(ask(server, signature, typed, shown), expected)
    assert_same(ask_rest(server, signature, typed, expected), expected)


def test_server_rates_typed_examples_as_run_does(served, server, tmp_path):
    shown = shown_inputs(served.path, "serving_default")
    assert shown == {"examples": (tf.string, 1)}
    typed = saved_model_cli.load_inputs_from_input_arg_string("", "", EXAMPLES)
    expected = answered_in_process(
        served.path, tmp_path, "serving_default", f"--input_examples={EXAMPLES}"
    )
    assert_same(ask(server, "serving_default", typed, shown), expected)
