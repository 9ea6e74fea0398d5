"""Batching through TensorFlow's scheduler.

Batches are made certain by their size, never by time: with a timeout that no test waits for, a
batch runs as soon as it is full.
"""

import os
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2

from serving import flags
from serving.inference.predict import predict
from serving.runtime.batch_options import BatchOptions
from serving.runtime.servable import Servable
from serving.server import ModelServer
from serving.status import StatusError
from tests.serving import saved_models
from tests.serving.saved_models import Shop, float_request

NEVER = 600_000_000
Spec = tf.TensorSpec


def _function(*specs):
    return tf.function(input_signature=list(specs))


class Rows(tf.Module):
    """Graphs that say how many rows they were run with."""

    @_function(Spec([None], tf.float32, "x"))
    def count(self, x):
        return {"y": x * 2.0, "together": tf.fill(tf.shape(x), tf.size(x))}

    @_function(Spec([None], tf.float32, "x"), Spec([], tf.float32, "k"))
    def times(self, x, k):
        return {"y": x * k, "together": tf.fill(tf.shape(x), tf.size(x))}

    @_function(Spec([None, None], tf.string, "words"))
    def join(self, words):
        rows = tf.shape(words)[0]
        return {"joined": tf.strings.reduce_join(words, 1), "together": tf.fill([rows], rows)}

    positive = saved_models.Probe.positive

    @_function(Spec([None], tf.float32, "x"))
    def twice(self, x):
        return {"y": tf.concat([x, x], 0)}

    @_function(Spec([None], tf.float32, "x"))
    def sum(self, x):
        return {"y": tf.reduce_sum(x)}

    @_function(Spec([2], tf.float32, "x"))
    def pair(self, x):
        return {"y": x * 2.0}

    @_function(Spec(None, tf.float32, "x"))
    def anything(self, x):
        return {"y": x * 2.0}

    @_function(Spec([None], tf.string, "path"))
    def write(self, path):
        """Says that it has begun; at a named pipe it waits for a reader."""
        with tf.control_dependencies([tf.io.write_file(path[0] + ".begun", "")]):
            written = tf.io.write_file(path[0], "x")
        with tf.control_dependencies([written]):
            return {"done": tf.identity(path)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Folder of version 1 of `Rows`."""
    module, folder = Rows(), tmp_path_factory.mktemp("rows")
    names = ["count", "times", "join", "positive", "twice", "sum", "pair", "anything", "write"]
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(
        module, str(folder / "1"), signatures=signatures | {"serving_default": module.count}
    )
    return folder


class Batched:
    """A servable with batching, and clients that ask it at the same time."""

    def __init__(self, folder, **options):
        self.servable = Servable(
            str(folder / "1"), model="rows", version=1, batching=BatchOptions(**options)
        )

    def ask(self, signature, *, outputs=(), **inputs):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = predict(self.servable, request)
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}

    def ask_together(self, signature, *many):
        """Answers, or errors, of requests that are all in flight at once."""
        with futures.ThreadPoolExecutor(len(many)) as pool:
            asked = [pool.submit(self.ask, signature, **inputs) for inputs in many]
        return [future.exception() or future.result() for future in asked]

    def refusal(self, signature, **inputs):
        with pytest.raises(StatusError) as caught:
            self.ask(signature, **inputs)
        return str(caught.value)


@pytest.fixture
def batched(rows):
    """Makes `Batched` over `Rows`; closed at the end."""
    made = []

    def make(**options):
        made.append(Batched(rows, **{"batch_timeout_micros": NEVER, **options}))
        return made[-1]

    yield make
    for one in made:
        one.servable.close()


def floats(*values):
    return np.array(values, np.float32)


def test_requests_run_together_and_each_gets_its_own_rows(batched):
    many = [{"x": floats(1)}, {"x": floats(2, 3, 4)}, {"x": floats(5, 6)}]
    answers = batched(max_batch_size=6).ask_together("count", *many)
    for asked, answer in zip(many, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], asked["x"] * 2)
        assert set(answer["together"]) == {6}


def test_scalar_inputs_are_equal_among_requests_that_run_together(batched):
    nan = np.float32("nan")
    many = [{"x": floats(x), "k": np.float32(k)} for x, k in ((1, 2), (3, 5), (4, 2), (7, nan))]
    answers = batched(max_batch_size=4).ask_together("times", *many)
    scaled = np.stack([a["y"] for a in answers])
    np.testing.assert_array_equal(scaled, floats(2, 15, 8, nan)[:, None])
    assert [a["together"].tolist() for a in answers] == [[2], [1], [2], [1]]


def test_unlike_shapes_are_not_joined(batched):
    many = [{"words": [["a", "b"]]}, {"words": [["c"]]}, {"words": [["d", "e"], ["f", "g"]]}]
    answers = batched(max_batch_size=4).ask_together("join", *many)
    assert [a["joined"].tolist() for a in answers] == [[b"ab"], [b"c"], [b"de", b"fg"]]
    assert [set(a["together"]) for a in answers] == [{3}, {1}, {3}]


def test_padding_fills_with_the_first_value_as_the_stock_server_does(batched):
    many = [{"words": [["a", "b", "x"]]}, {"words": [["c"]]}]
    answers = batched(max_batch_size=2, pad_variable_length_inputs=True).ask_together("join", *many)
    assert [a["joined"].tolist() for a in answers] == [[b"abx"], [b"ccc"]]
    assert [a["together"].tolist() for a in answers] == [[2], [2]]


def test_requests_for_other_outputs_share_a_batch_but_not_a_run(batched):
    many = [{"x": floats(1), "outputs": ["y"]}, {"x": floats(2)}, {"x": floats(3)}]
    only, *both = batched(max_batch_size=3).ask_together("count", *many)
    assert set(only) == {"y"} and only["y"] == [2]
    assert [a["together"].tolist() for a in both] == [[2], [2]]


def test_bad_request_fails_alone_and_only_its_own_values_are_told(batched):
    many = [{"x": floats(1)}, {"x": floats(-2)}, {"x": floats(3)}]
    good, bad, other = batched(max_batch_size=3).ask_together("positive", *many)
    assert (good["y"], other["y"]) == ([1], [3])
    assert str(bad).startswith("INVALID_ARGUMENT: assertion failed: [give more.")
    assert "[x (x:0) = ] [-2]" in str(bad)


@pytest.mark.parametrize(
    ("signature", "inputs", "expected"),
    [
        ("sum", floats(1, 2), 3),
        ("twice", floats(1, 2), [1, 2, 1, 2]),
        ("pair", floats(1, 2), [2, 4]),
    ],
    ids=["scalar out", "more rows out", "fixed size"],
)
def test_graphs_without_rows_to_cut_answer_each_request_by_itself(
    batched, signature, inputs, expected
):
    server = batched(max_batch_size=4)
    for answer in server.ask_together(signature, {"x": inputs}, {"x": inputs}):
        np.testing.assert_array_equal(answer["y"], expected)


def test_vector_in_place_of_a_scalar_is_left_to_the_graph(batched):
    answer = batched(max_batch_size=2).ask("times", x=floats(1, 2), k=floats(3, 4))
    np.testing.assert_array_equal(answer["y"], [3, 8])


def test_empty_request_is_answered(batched):
    assert batched(max_batch_size=2).ask("count", x=floats())["y"].shape == (0,)


def test_refusals_are_the_stock_servers(batched):
    server = batched(max_batch_size=4)
    alone = "INVALID_ARGUMENT: Batching Run() input tensors must have at least one dimension"
    assert server.refusal("count", x=np.float32(1)) == alone
    assert server.refusal("anything", x=np.float32(1)) == alone
    assert server.refusal("count", x=np.ones(5, np.float32)) == (
        "INVALID_ARGUMENT: Task size 5 is larger than maximum input batch size 4"
    )
    assert server.refusal("count", x=np.ones(1, np.int32)) == (
        "INVALID_ARGUMENT: Expects arg[0] to be float but int32 is provided"
    )


def test_inputs_of_unlike_numbers_of_rows_are_refused_as_by_the_stock_server(models):
    servable = Servable(
        str(models / "probe" / "1"), model="probe", version=1, batching=BatchOptions()
    )
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "two"
    request.inputs["a"].CopyFrom(tf.make_tensor_proto(np.ones((2, 2), np.float32)))
    request.inputs["b"].CopyFrom(tf.make_tensor_proto(np.ones((1, 2), np.int32)))
    with pytest.raises(StatusError) as caught:
        predict(servable, request)
    servable.close()
    assert str(caught.value) == (
        "INVALID_ARGUMENT: Batching Run() input tensors must have equal 0th-dimension size"
    )


def test_batch_is_filled_up_to_an_allowed_size(batched):
    server = batched(max_batch_size=8, allowed_batch_sizes=(2, 4, 8), batch_timeout_micros=0)
    answer = server.ask("count", x=floats(1, 2, 3))
    np.testing.assert_array_equal(answer["y"], [2, 4, 6])
    assert answer["together"].tolist() == [4, 4, 4]


def test_large_batch_runs_in_pieces(batched):
    server = batched(max_batch_size=5, max_execution_batch_size=2)
    answer = server.ask("count", x=floats(1, 2, 3, 4, 5))
    np.testing.assert_array_equal(answer["y"], [2, 4, 6, 8, 10])
    assert answer["together"].tolist() == [2, 2, 2, 2, 1]


def test_full_queue_is_unavailable_in_the_stock_servers_words(batched, tmp_path):
    server = batched(
        max_batch_size=1, num_batch_threads=1, max_enqueued_batches=1, batch_timeout_micros=0
    )
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with futures.ThreadPoolExecutor(4) as pool:
        held = pool.submit(server.ask, "write", path=[pipe])
        while not os.path.exists(pipe + ".begun"):
            assert not held.done(), held.exception()
            time.sleep(0.01)
        # The only batch thread is at the pipe: of three more, one is enqueued, no matter which.
        more = [pool.submit(server.ask, "write", path=[str(tmp_path / str(n))]) for n in range(3)]
        ended = futures.as_completed(more, timeout=60)
        refused = [str(next(ended).exception()) for _ in range(2)]
        with open(pipe, "rb"):
            assert held.result()["done"] == [pipe.encode()]
        assert next(ended).exception() is None
    assert refused == 2 * [
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full;"
        " currently 1 batches enqueued and max_enqueued_batches is 1"
    ]


def test_request_whose_time_ends_in_the_queue_is_not_run(batched):
    server = batched(max_batch_size=2, batch_timeout_micros=200_000)
    with pytest.raises(StatusError) as caught:
        predict(server.servable, float_request([1.0], signature="count"), timeout_ms=1)
    assert str(caught.value) == (
        "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
    )


def test_sixteen_clients_cost_one_run_of_the_graph_a_round(batched):
    server = batched(max_batch_size=16)
    ask = server.ask  # each asks again only when answered, so full batches come one after another

    def client(number):
        return [ask("count", x=floats(number))["together"][0] for _ in range(10)]

    with futures.ThreadPoolExecutor(16) as pool:
        together = [rows for client_rows in pool.map(client, range(16)) for rows in client_rows]
    assert sum(1 / rows for rows in together) == 10


def test_more_batch_threads_than_cores_do_not_wait_for_each_other(batched):
    server = batched(num_batch_threads=12, batch_timeout_micros=100)
    many = [{"x": floats(*range(n % 3 + 1)), "k": np.float32(n)} for n in range(96)]
    for asked, answer in zip(many, server.ask_together("times", *many), strict=True):
        np.testing.assert_array_equal(answer["y"], asked["x"] * asked["k"])


def test_closing_ends_the_scheduler(rows):
    def threads():
        return len(os.listdir("/proc/self/task"))

    def swap():
        one = Batched(rows, num_batch_threads=4)
        one.ask("count", x=floats(1))
        one.servable.close()

    swap()  # the first starts threads that the runtime keeps
    before = threads()
    for _ in range(5):
        swap()
    assert threads() <= before + 4


def write_parameters(path, text):
    path.write_text(text)
    return f"--batching_parameters_file={path}"


FOUR = (
    "max_batch_size { value: 4 } batch_timeout_micros { value: %d } num_batch_threads { value: 1 }"
)


def test_server_batches_recommend_with_the_answers_that_it_gives_alone(
    start_server, models, tmp_path
):
    def ask(user):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "shop"
        request.model_spec.signature_name = "recommend"
        history = [["bread"]] if user % 2 else [["apple", "cake"]]
        for name, value, dtype in (
            ("user_id", [f"u{user}"], tf.string),
            ("history", history, tf.string),
            ("profile", ["p" * user], tf.string),
            ("k", user % 3 + 1, tf.int32),
            ("new_only", user % 4 == 0, tf.bool),
        ):
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
        return request

    folder = f"--model_base_path={models / 'shop'}"
    alone = start_server("--model_name=shop", folder)
    together = start_server(
        "--model_name=shop",
        folder,
        "--enable_batching",
        "--grpc_max_threads=16",
        write_parameters(tmp_path / "batching", FOUR % 20_000),
    )
    asked = [ask(user) for user in range(1, 25)]
    pending = [together.prediction.Predict.future(request, timeout=60) for request in asked]
    for request, answer in zip(asked, pending, strict=True):
        assert answer.result() == alone.prediction.Predict(request)
    first = tf.make_ndarray(pending[0].result().outputs["item_id"]).tolist()
    assert first == [[Shop.ITEMS[0].encode(), Shop.ITEMS[2].encode()]]


@pytest.mark.parametrize(
    ("given", "expected"), [((), 2 * 5 * flags.CPUS), (("--grpc_max_threads=3",), 3)]
)
def test_threads_are_enough_for_two_batches_unless_their_number_is_given(
    models, tmp_path, given, expected
):
    rows = 5 * flags.CPUS  # more than the stock server has threads
    parsed = flags.parse(
        [
            "--port=1",
            f"--model_base_path={models / 'scale'}",
            "--enable_batching",
            write_parameters(tmp_path / "batching", f"max_batch_size {{ value: {rows} }}"),
            *given,
        ]
    )
    assert ModelServer(parsed, threading.Event())._threads == expected


def test_a_batch_fills_with_as_many_requests_as_it_has_rows(start_server, models, tmp_path):
    rows = 5 * flags.CPUS
    text = f"max_batch_size {{ value: {rows} }} batch_timeout_micros {{ value: {NEVER} }}"
    server = start_server(
        "--model_name=scale",
        f"--model_base_path={models / 'scale'}",
        "--enable_batching",
        write_parameters(tmp_path / "batching", text),
    )
    asked = [
        server.prediction.Predict.future(float_request([float(row)]), timeout=60)
        for row in range(rows)
    ]
    answers = [tf.make_ndarray(one.result().outputs["y"]).tolist() for one in asked]
    assert answers == [[30.0 * row] for row in range(rows)]


def test_server_batches_classify_and_answers_rest_in_the_stock_servers_words(
    start_server, models, tmp_path
):
    config = saved_models.write_config(
        tmp_path / "models.config", {name: models / name for name in ("scale", "examples")}
    )
    server = start_server(
        f"--model_config_file={config}",
        "--enable_batching",
        write_parameters(tmp_path / "batching", FOUR % 0),
    )
    request = saved_models.examples_request(
        classification_pb2.ClassificationRequest, "classify", 1.0, 2.5
    )
    answer = server.prediction.Classify(request, timeout=30)
    assert [c.classes[0].score for c in answer.result.classifications] == [2, 5]
    refused = requests.post(
        f"http://127.0.0.1:{server.rest_port}/v1/models/scale:predict",
        json={"instances": [1, 2, 3, 4, 5]},
        timeout=30,
    )
    assert refused.status_code == 400
    assert refused.json() == {"error": "Task size 5 is larger than maximum input batch size 4"}


def test_parameters_beside_the_model_count_and_without_them_it_is_not_batched(
    start_server, tmp_path
):
    saved_models.save_scale(str(tmp_path), 1, 10)
    saved_models.save_scale(str(tmp_path), 2, 20)
    (tmp_path / "2" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    config = saved_models.write_config(
        tmp_path / "models.config", {"scale": tmp_path},
        {"scale": "model_version_policy { all {} }"},
    )  # fmt: skip
    server = start_server(
        f"--model_config_file={config}",
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        write_parameters(tmp_path / "batching", "max_batch_size { value: 1 }"),
    )
    answer = server.prediction.Predict(float_request([1.0] * 3, version=1), timeout=30)
    assert list(answer.outputs["y"].float_val) == [10] * 3
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(float_request([1.0] * 3, version=2), timeout=30)
    assert caught.value.details() == "Task size 3 is larger than maximum input batch size 2"


def start_refusal(*arguments):
    parsed = flags.parse(["--max_num_load_retries=0", *arguments])
    with pytest.raises(StatusError) as caught:
        ModelServer(parsed, threading.Event()).start()
    return str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be non-negative; was -1"),
        (
            "max_batch_size { value: 4 } enable_large_batch_splitting { value: true }"
            " max_execution_batch_size { value: 8 }",
            "max_execution_batch_size must be from 1 to max_batch_size (4); was 8",
        ),
        ("foo: 1", "Invalid protobuf file"),
    ],
)
def test_parameters_that_make_no_sense_end_the_start(rows, tmp_path, parameters, text):
    refused = start_refusal(
        f"--model_base_path={rows}",
        "--enable_batching",
        write_parameters(tmp_path / "batching", parameters),
    )
    assert refused.startswith(f"INVALID_ARGUMENT: {text}")


def test_allowed_sizes_that_end_elsewhere_fail_the_load(rows, tmp_path):
    refused = start_refusal(
        f"--model_base_path={rows}",
        "--enable_batching",
        write_parameters(tmp_path / "batching", "allowed_batch_sizes: 1 allowed_batch_sizes: 2"),
    )
    assert refused == (
        "UNKNOWN: 1 servable(s) did not become available: {{{name: default version: 1} due to"
        " error: INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size;"
        " last entry was 2; expected 1000}, }"
    )


def test_parameters_without_batching_are_refused(rows, tmp_path):
    refused = start_refusal(
        f"--model_base_path={rows}", write_parameters(tmp_path / "batching", "")
    )
    assert refused == (
        "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting"
        " server_options.enable_batching to true."
    )
