import asyncio
import math

import grpc
import numpy as np
import pandas as pd
import pytest

from models.errors import BadInput, DebutError, Unreachable
from serving.answers import Audience, Explanation, Ranking, TensorSpec
from serving.asking.connection import Attempts
from serving.async_client import AsyncClient
from serving.client import Client
from serving.ports import free_port
from tests.serving.scripted_server import ScriptedServer, ranking

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL


@pytest.fixture
def client(suite, connect):
    with connect(f"127.0.0.1:{suite.grpc_port}", model="shop", timeout=30) as client:
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


def test_new_items_alone_are_recommended_where_asked_for(client):
    [ranking] = client.recommend(["u1"], new_only=True)
    assert ranking.item_ids == ["dill", "egg"]


def test_pairs_get_a_score_and_a_rating_each(client):
    scores = client.score(["u", "user"], ["egg", "cake"], history=[["egg"], ["egg", "dill"]])
    assert scores.ratings == pytest.approx([0.1, 0.4])
    assert scores.scores == [3.0, 6.0]
    assert scores.version == 1


def test_embeddings_are_nested_as_the_model_returns_them(client):
    vectors = client.embed_items(["ab", "abc"], brands=["x", ""], prices=[2.5, math.nan]).vectors
    assert vectors == [[2.0, 0.0, 1.0, 0.0, 2.5], [3.0, 0.0, 0.0, 0.0, -1.0]]
    assert client.embed_users(["ab"]).vectors == [[[2.0] * 3, [2.0] * 3]]


def test_a_version_is_asked_by_its_number_whatever_the_label(suite):
    target = f"127.0.0.1:{suite.grpc_port}"
    with Client(target, model="shop", label="absent", timeout=30) as client:
        assert client.at(1).recommend(["u1"], k=1) == [Ranking(["apple"], [5.0], 1)]
        with pytest.raises(DebutError, match="7"):
            client.at(7).recommend(["u1"])
        with pytest.raises(DebutError, match="absent"):
            client.recommend(["u1"])


def test_similar_items_are_named_as_the_model_ranks_them(client):
    assert client.similar_items(["egg"], k=2)[0].item_ids == ["apple", "bread"]


def test_explanations_are_pairs_without_what_pads(client):
    first, second = client.explain(["u", "v"], ["egg", "dill"], history=[["egg"], ["egg", "dill"]])
    assert first == Explanation(
        score=6.0, base=1.0, evidence=2.0, history=[("egg", 3.0)],
        words=[("e", 1.0), ("g", 1.0), ("g", 1.0)], rest=-1.0, version=1,
    )  # fmt: skip
    assert second.history == [("egg", 3.0), ("dill", 4.0)] and len(second.words) == 4


def test_audiences_of_items_and_of_products_that_are_not_there(client):
    first, second = client.audience(["egg", "dill"], k=2)
    assert first == Audience(["egg/////nan/0", "egg/////nan/1"], [13.0, 13.0], 1)
    assert second.user_ids == ["dill/////nan/0"]
    [of_product] = client.audience(titles=["pan"], brands=["Acme"], prices=[2.5], k=1)
    assert of_product.user_ids == ["/pan//Acme//2.50/0"]


@pytest.mark.parametrize("asked", [{}, {"item_ids": ["egg"], "titles": ["pan"]}])
def test_an_audience_is_of_items_or_of_products(client, asked):
    with pytest.raises(BadInput, match="item_ids, or titles"):
        client.audience(**asked)


def test_status_names_the_states_and_metadata_the_tensors(client):
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "assertion failed: [item_id is not in the catalogue:] [egg]\n\t [[{{node Assert}}]]",
            "The model at {target} does not know item egg. Give ids of its catalogue; "
            "`debut items add` brings new products.",
        ),
        (
            "Unrecognized servable version label: prod",
            "No version at {target} has the label prod. `debut versions` names the labels of a "
            "root; without a label the newest version is asked.",
        ),
    ],
)
def test_known_refusals_name_the_place_and_the_remedy(connect, words, told):
    refused = grpc.StatusCode.INVALID_ARGUMENT
    with ScriptedServer(refused) as server, connect(server.target) as client:
        server.details = words
        with pytest.raises(BadInput) as caught:
            client.recommend(["u"])
        assert str(caught.value) == told.format(target=server.target)


def test_rows_that_do_not_fit_are_named_before_anything_is_sent(client):
    with pytest.raises(BadInput, match="item_ids has 1 entries for 2 rows"):
        client.score(["a", "b"], ["egg"])
    with pytest.raises(TypeError, match="user_ids"):
        client.recommend("u1")


def test_refusals_do_not_begin_with_the_graphs_functions(connect):
    with (
        ScriptedServer(grpc.StatusCode.INVALID_ARGUMENT, INTERNAL) as server,
        connect(server.target) as client,
    ):
        server.details = (
            "{{function_node __inference_a_1}} {{function_node __wrapped__Op}} x {{y}} is wrong"
        )
        with pytest.raises(BadInput, match=r"\Ax \{\{y\}\} is wrong\Z"):
            client.recommend(["u"])
        with pytest.raises(DebutError, match=r"answered INTERNAL: x \{\{y\}\} is wrong\Z"):
            client.recommend(["u"])


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("assertion failed: [k must be at least 1, it is] [0]", "k must be at least 1, it is 0."),
        (
            "assertion failed: [history can't be read:] [a] b [c]]\n\t [[{{node x}}]]",
            "history can't be read: a] b [c].",
        ),
        ("no assertion failed: [0]", "no assertion failed: [0]"),
    ],
)
def test_what_the_graph_asserts_is_told_in_plain_words(connect, details, told):
    with (
        ScriptedServer(grpc.StatusCode.INVALID_ARGUMENT) as server,
        connect(server.target) as client,
    ):
        server.details = details
        with pytest.raises(BadInput) as caught:
            client.recommend(["u"])
        assert str(caught.value) == told


def test_a_k_that_no_int32_holds_is_the_nearest_one(client):
    assert client.recommend(["u"], k=2**40) == client.recommend(["u"], k=5)
    assert len(client.similar_items(["egg"], k=2**31)[0].item_ids) == 5
    with pytest.raises(BadInput, match="k must be at least 1"):
        client.recommend(["u"], k=-(2**40))


@pytest.mark.parametrize("form", [np.array, pd.Series])
def test_arrays_and_series_are_lists(client, form):
    users, items = form(["u", "v"]), form(["egg", "dill"])
    history = form([["egg"], ["dill"]]) if form is np.array else form([["egg"], []], index=[3, 4])
    lists = list(map(list, history))
    assert client.recommend(users, history=history, profile=form(["", "a"])) == client.recommend(
        list(users), history=lists, profile=["", "a"]
    )
    assert client.score(users, items) == client.score(list(users), list(items))
    assert client.audience(items, k=np.int64(1)) == client.audience(list(items), k=1)
    products = {
        "titles": ["pan", "pot"],
        "categories": ["a", ""],
        "brands": ["b", ""],
        "descriptions": ["c", ""],
        "prices": [2.5, 3.0],
    }
    arrays = {name: form(values) for name, values in products.items()}
    assert client.audience(**arrays) == client.audience(**products)
    assert client.embed_items(**arrays) == client.embed_items(**products)


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        ("recommend", {"user_ids": ["\udcff"]}, "user_ids"),
        ("recommend", {"user_ids": ["u"], "history": [["egg", "\ud800"]]}, "history"),
        ("recommend", {"user_ids": ["u"], "profile": ["\udcff"]}, "profile"),
        ("embed_items", {"titles": ["\udcff"]}, "titles"),
    ],
)
def test_text_that_has_no_unicode_is_named(client, method, arguments, name):
    with pytest.raises(BadInput, match=rf"{name} holds .*\\ud.*, which is no Unicode text"):
        getattr(client, method)(**arguments)


@pytest.mark.parametrize(
    ("method", "arguments", "named"),
    [
        ("recommend", {"user_ids": [12347]}, "user_ids holds 12347"),
        ("recommend", {"user_ids": ["u"], "history": [["egg", None]]}, "history holds None"),
        ("similar_items", {"item_ids": [b"egg"]}, "item_ids holds b'egg'"),
    ],
)
def test_an_id_that_is_no_text_is_named(client, method, arguments, named):
    with pytest.raises(BadInput, match=f"{named}, which is no text"):
        getattr(client, method)(**arguments)


def test_embeddings_and_scores_of_nothing_are_none(client):
    assert client.embed_items([]).vectors == client.embed_users([]).vectors == []
    assert client.score([], []).scores == []


def test_no_server_is_asked_for_lists_of_nothing(connect):
    with ScriptedServer() as server, connect(server.target) as client:
        assert client.recommend([]) == client.similar_items([]) == client.explain([], []) == []
        assert client.audience([]) == client.audience(titles=[]) == []
        assert server.calls == 0


def test_unknown_model_is_a_failure_that_says_so(suite, connect):
    with (
        connect(f"127.0.0.1:{suite.grpc_port}", model="nope") as client,
        pytest.raises(
            DebutError, match=r"server at 127\.0\.0\.1:\d+ has loaded no version of a model nope"
        ),
    ):
        client.recommend(["u"])


def test_no_server_is_unreachable_and_names_the_target(connect):
    target = f"127.0.0.1:{free_port()}"
    with connect(target, timeout=1) as client, pytest.raises(Unreachable, match=target):
        client.status()


def test_only_unavailable_is_tried_again(connect):
    with (
        ScriptedServer(UNAVAILABLE, UNAVAILABLE, INTERNAL, INTERNAL) as server,
        connect(server.target) as client,
    ):
        with pytest.raises(DebutError, match="INTERNAL: as told"):
            client.recommend(["u"])
        assert server.calls == 3


def test_a_server_that_comes_back_is_asked_again(connect):
    with (
        ScriptedServer(*[UNAVAILABLE] * 6, ranking("a", "b")) as server,
        connect(server.target, timeout=60) as client,
    ):
        assert client.recommend(["u"]) == [Ranking(["a", "b"], [1.0, 2.0], 7)]


def test_a_ranking_has_the_propensities_of_its_items(connect):
    answer = ranking("a", "", "b", propensities=(1.0, 0.0, 0.25))
    with ScriptedServer(answer) as server, connect(server.target) as client:
        [found] = client.recommend(["u"])
    assert (found.item_ids, found.propensities) == (["a", "b"], [1.0, 0.25])


def test_unavailable_for_good_ends_as_unreachable(connect):
    with (
        ScriptedServer(*[UNAVAILABLE] * 100) as server,
        connect(server.target, timeout=1) as client,
    ):
        with pytest.raises(Unreachable, match="as told"):
            client.recommend(["u"])
        assert 0 < server.calls < 100


def test_attempts_go_on_until_the_time_is_over_at_most_a_second_apart():
    attempts = Attempts(timeout=3600)
    pauses = [attempts.pause_after(UNAVAILABLE, "as told") or 0.0 for _ in range(2000)]
    assert all(0 < pause <= 1 for pause in pauses)
    assert pauses[0] <= 0.1
    assert attempts.pause_after(INTERNAL, None) is None
    assert Attempts(timeout=0.05).pause_after(UNAVAILABLE, "as told") is None


def test_a_server_that_does_not_answer_in_time_is_unreachable(connect):
    with (
        ScriptedServer(None) as server,
        connect(server.target, timeout=0.3) as client,
        pytest.raises(Unreachable, match=r"did not answer within 0\.3 s"),
    ):
        client.recommend(["u"])


def test_a_single_call_can_have_a_time_limit_of_its_own(connect):
    with ScriptedServer(None, ranking("a")) as server, connect(server.target) as client:
        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
            client.within(0.2).recommend(["u"])
        assert client.recommend(["u"])[0].item_ids == ["a"]


def test_all_calls_share_one_connection(connect):
    # Not by name: `localhost` has two addresses.
    with (
        ScriptedServer(*[ranking("a")] * 4) as server,
        connect(server.target.replace("localhost", "127.0.0.1")) as client,
    ):
        for _ in range(2):
            client.recommend(["u"])
            client.within(5).recommend(["u"])
        assert len(set(server.peers)) == 1


def test_several_servers_behind_one_name_are_asked_in_turn(connect):
    with (
        ScriptedServer(*[ranking("a")] * 20) as first,
        ScriptedServer(*[ranking("a")] * 20) as second,
    ):
        addresses = [server.target.replace("localhost", "127.0.0.1") for server in (first, second)]
        with connect("ipv4:" + ",".join(addresses)) as client:
            # The very first call may come before the second connection stands.
            while not (first.calls and second.calls):
                client.recommend(["u"])
            before = first.calls, second.calls
            for _ in range(4):
                client.recommend(["u"])
        assert (first.calls - before[0], second.calls - before[1]) == (2, 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(connect, monkeypatch, host):
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with ScriptedServer(ranking("a")) as server:
        port = server.target.rpartition(":")[2]
        with connect(f"{host}:{port}", timeout=10) as client:
            assert client.recommend(["u"])[0].item_ids == ["a"]


def test_asyncio_calls_wait_side_by_side():
    """The first call gets its answer only after the last one was asked."""

    async def ask(server):
        async with AsyncClient(server.target) as client:
            waiting = asyncio.create_task(client.within(5).score(["u"], ["i"]))
            while not server.calls:
                await asyncio.sleep(0.01)
            [first] = await client.recommend(["u"])
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return first

    with ScriptedServer(None, ranking("a")) as server:
        assert asyncio.run(ask(server)).item_ids == ["a"]


# The fallback list


def test_without_a_server_recommend_answers_with_what_is_popular_and_says_so(connect):
    target = f"127.0.0.1:{free_port()}"
    with connect(target, timeout=1, fallback=["a", "b", "c", "a", "d"]) as client:
        rankings = client.recommend(["u1", "u2"], history=[["b"], []], k=3)
    assert [ranking.item_ids for ranking in rankings] == [["a", "c", "d"], ["a", "b", "c"]]
    for fallback in rankings:
        assert fallback.is_fallback
        assert fallback.version is None
        assert [math.isnan(score) for score in fallback.scores] == [True] * 3


def test_a_fallback_that_is_no_list_of_texts_is_refused_at_once(connect):
    with pytest.raises(TypeError, match="fallback must be a list, not a single string"):
        connect("127.0.0.1:1", fallback="22726")
    with pytest.raises(BadInput, match="fallback holds 22726, which is no text"):
        connect("127.0.0.1:1", fallback=[22726])


def test_a_server_that_answers_too_late_counts_as_none(connect):
    with (
        ScriptedServer(None) as server,
        connect(server.target, timeout=0.2, fallback=["a"]) as client,
    ):
        assert client.recommend(["u"])[0].item_ids == ["a"]


def test_the_fallback_is_not_taken_while_the_server_answers(connect):
    with ScriptedServer(ranking("z")) as server, connect(server.target, fallback=["a"]) as client:
        [answer] = client.recommend(["u"])
        assert (answer.item_ids, answer.is_fallback) == (["z"], False)


def test_popular_items_are_no_answer_where_only_new_ones_or_scores_were_asked_for(connect):
    target = f"127.0.0.1:{free_port()}"
    with connect(target, timeout=1, fallback=["a"]) as client:
        with pytest.raises(Unreachable):
            client.recommend(["u"], new_only=True)
        with pytest.raises(Unreachable):
            client.score(["u"], ["a"])
        with pytest.raises(Unreachable):
            client.similar_items(["a"])


def test_a_refusal_is_not_hidden_behind_the_fallback(connect):
    with (
        ScriptedServer(INTERNAL, grpc.StatusCode.INVALID_ARGUMENT) as server,
        connect(server.target, fallback=["a"]) as client,
    ):
        with pytest.raises(DebutError, match="INTERNAL"):
            client.recommend(["u"])
        with pytest.raises(BadInput, match="as told"):
            client.recommend(["u"])
