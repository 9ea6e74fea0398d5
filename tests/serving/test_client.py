import math
import threading
from concurrent import futures

import grpc
import pytest

from models.errors import BadInput, DebutError, Unreachable
from serving.answers import Ranking, TensorSpec
from serving.client import Client
from tests.serving.conftest import free_port

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture
def client(suite):
    with Client(f"127.0.0.1:{suite.grpc_port}", model="shop", timeout=30) as client:
        yield client


def test_recommend_ranks_for_every_user(client):
    assert client.recommend(["u1", "u2"], k=2) == [Ranking(["apple", "bread"], [5.0, 4.0], 1)] * 2


def test_recommend_sends_each_users_history_and_profile(client):
    first, second = client.recommend(
        ["u1", "u2"], history=[["apple", "egg"], []], profile=["", "abc"], k=10
    )
    assert first == Ranking(["bread", "cake", "dill"], [4.0, 3.0, 2.0], 1)
    assert second.item_ids == ["apple", "bread", "cake", "dill", "egg"]
    assert second.scores == [8.0, 7.0, 6.0, 5.0, 4.0]


def test_recommend_new_only(client):
    [ranking] = client.recommend(["u1"], new_only=True)
    assert ranking.item_ids == ["dill", "egg"]


def test_score_of_pairs(client):
    scores = client.score(["u", "user"], ["egg", "cake"], history=[["egg"], ["egg", "dill"]])
    assert scores.ratings == pytest.approx([0.1, 0.4])
    assert scores.scores == [3.0, 6.0]
    assert scores.version == 1


def test_embeddings_are_nested_as_the_model_returns_them(client):
    vectors = client.embed_items(["ab", "abc"], brands=["x", ""], prices=[2.5, math.nan]).vectors
    assert vectors == [[2.0, 0.0, 1.0, 0.0, 2.5], [3.0, 0.0, 0.0, 0.0, -1.0]]
    assert client.embed_users(["ab"]).vectors == [[[2.0] * 3, [2.0] * 3]]


def test_similar_items(client):
    assert client.similar_items(["egg"], k=2)[0].item_ids == ["apple", "bread"]


def test_status_and_metadata(client):
    assert [(s.version, s.state, s.error) for s in client.status()] == [(1, "AVAILABLE", "")]
    signature = client.metadata()["recommend"]
    assert signature.inputs["history"] == TensorSpec("string", [-1, -1])
    assert signature.inputs["k"] == TensorSpec("int32", [])
    assert signature.outputs["score"].dtype == "float32"


def test_refused_arguments_are_bad_input_without_the_graphs_node_names(client):
    with pytest.raises(BadInput, match="k must be at least 1") as caught:
        client.recommend(["u"], k=0)
    assert "{{node" not in str(caught.value)
    with pytest.raises(BadInput, match="nothing-like-it"):
        client.score(["u"], ["nothing-like-it"])


def test_rows_that_do_not_fit_are_named_before_anything_is_sent(client):
    with pytest.raises(BadInput, match="item_ids has 1 entries for 2 rows"):
        client.score(["a", "b"], ["egg"])
    with pytest.raises(TypeError, match="user_ids"):
        client.recommend("u1")


def test_unknown_model_is_a_failure_that_says_so(suite):
    with (
        Client(f"127.0.0.1:{suite.grpc_port}", model="nope") as client,
        pytest.raises(DebutError, match=r"NOT_FOUND: Servable not found for request: Latest\(nope"),
    ):
        client.recommend(["u"])


def test_no_server_is_unreachable_and_names_the_target():
    target = f"127.0.0.1:{free_port()}"
    with Client(target, timeout=5) as client, pytest.raises(Unreachable, match=target):
        client.status()


class Scripted:
    """A server whose Predict fails as it is told, counting the calls."""

    def __init__(self, *codes):
        self.codes = list(codes)
        self.calls = 0
        self.release = threading.Event()
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        service, method = PREDICT.strip("/").split("/")
        generic = grpc.method_handlers_generic_handler(service, {method: handler})
        self.server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[generic])
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def _answer(self, request, context):
        self.calls += 1
        code = self.codes.pop(0)
        if code is None:
            self.release.wait(10)
            return b""
        context.abort(code, "as told")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.stop(None).wait()


def test_only_unavailable_is_tried_again():
    unavailable, internal = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
    with (
        Scripted(unavailable, unavailable, internal, internal) as server,
        Client(server.target) as client,
    ):
        with pytest.raises(DebutError, match="INTERNAL: as told"):
            client.recommend(["u"])
        assert server.calls == 3


def test_unavailable_for_good_ends_as_unreachable():
    with (
        Scripted(*[grpc.StatusCode.UNAVAILABLE] * 10) as server,
        Client(server.target) as client,
    ):
        with pytest.raises(Unreachable, match="as told"):
            client.recommend(["u"])
        assert 1 < server.calls < 10


def test_a_server_that_does_not_answer_in_time_is_unreachable():
    with (
        Scripted(None) as server,
        Client(server.target, timeout=0.3) as client,
        pytest.raises(Unreachable, match=r"did not answer within 0\.3 s"),
    ):
        client.recommend(["u"])
