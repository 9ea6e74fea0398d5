"""Versions that differ in their variables alone share a graph, and nothing else."""

import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from serving.inference.predict import predict
from serving.runtime.loaded_graphs import LoadedGraphs
from serving.runtime.servable import Servable
from serving.runtime.variable_slots import SLOTS
from serving.status import StatusError
from tests.serving import saved_models
from tests.serving.saved_models import Spec, float_request

FACTORS = (1.0, 10.0, 100.0, 1000.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Versions 1 to 4 of `Scale` with one graph, and 5 with the same variables as 1 and its own."""
    base = tmp_path_factory.mktemp("scale")
    for version, factor in enumerate(FACTORS, start=1):
        saved_models.save_scale(str(base), version, factor)
        if version > 1:
            shutil.copy(base / "1" / "saved_model.pb", base / str(version))
    saved_models.save_scale(str(base), 5, FACTORS[0])
    return base


@pytest.fixture
def load(base):
    """Loads versions into the same `LoadedGraphs`; what is still open is closed at the end."""
    graphs, opened = LoadedGraphs(None), []

    def load(version, folder=base):
        opened.append(
            Servable(str(folder / str(version)), model="m", version=version, graphs=graphs)
        )
        return opened[-1]

    yield load
    for servable in opened:
        if hasattr(servable, "_placed"):
            servable.close()


def graph_of(servable):
    return servable._placed.graph


def answer(servable, x=3.0):
    return predict(servable, float_request([x])).outputs["y"].float_val[0]


def test_a_version_with_the_graph_of_another_is_read_into_it_and_each_has_its_variables(load):
    one, two = load(1), load(2)
    assert graph_of(two) is graph_of(one)
    assert [answer(one), answer(two), answer(one)] == [3.0, 30.0, 3.0]


def test_what_one_version_compiled_the_next_one_calls(load):
    one = load(1)
    answer(one)
    compiled = one._placed._loaded._compiled
    before = compiled.cache_info().misses
    answer(load(2))
    assert compiled.cache_info().misses == before > 0


def test_as_many_at_a_time_as_there_are_slots_share_a_graph_and_one_more_has_its_own(load):
    first = [load(version) for version in (1, 2, 3, 4)]
    assert len(first) == SLOTS
    assert {graph_of(servable) for servable in first} == {graph_of(first[0])}
    one_more = load(1)
    assert graph_of(one_more) is not graph_of(first[0])
    assert [answer(servable) for servable in first] == [3.0 * factor for factor in FACTORS]
    assert answer(one_more) == 3.0


def test_versions_take_turns_in_the_slots(load):
    serving = load(1)
    graph = graph_of(serving)
    for version in (2, 3, 4):
        new = load(version)
        assert graph_of(new) is graph
        assert answer(serving) == 3 * FACTORS[version - 2]
        serving.close()
        assert answer(new) == 3 * FACTORS[version - 1]
        serving = new


def test_the_variables_of_a_closed_version_are_gone(load):
    one, two = load(1), load(2)
    placed = one._placed
    one.close()
    fetch = placed.call(("serving_default_x:0",), ("StatefulPartitionedCall:0",), timeout_ms=0)
    with pytest.raises(tf.errors.FailedPreconditionError, match="Could not find variable"):
        fetch(np.ones(1, np.float32))
    assert answer(two) == 30.0


def test_a_graph_that_nobody_uses_is_closed_and_loaded_anew(load):
    one = load(1)
    graph = graph_of(one)
    one.close()
    again = load(2)
    assert graph_of(again) is not graph
    assert answer(again) == 30.0


def test_a_version_with_other_bytes_of_a_graph_shares_none(load):
    assert graph_of(load(1)) is not graph_of(load(5))


def test_requests_to_two_versions_at_once_read_their_own_variables(load):
    wrong: list[float] = []

    def ask(servable, factor):
        wrong.extend(x for x in range(300) if answer(servable, float(x)) != x * factor)

    threads = [
        threading.Thread(target=ask, args=(load(version), FACTORS[version - 1]))
        for version in (1, 2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_damaged_variables_fail_as_alone_and_leave_the_others_and_the_slot(load, base, tmp_path):
    damaged = tmp_path / "7"
    shutil.copytree(base / "2", damaged)
    (damaged / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(StatusError) as alone:
        Servable(str(damaged), model="m", version=7)
    one = load(1)
    with pytest.raises(StatusError) as beside:
        load(7, tmp_path)
    assert (beside.value.code, beside.value.message) == (alone.value.code, alone.value.message)
    assert answer(one) == 3.0
    assert graph_of(load(2)) is graph_of(one)


class Named(tf.Module):
    """What a table, filled from a file, makes of words."""

    def __init__(self, file):
        super().__init__()
        lines = tf.lookup.TextFileInitializer(
            file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        self.table = tf.lookup.StaticHashTable(lines, -1)
        self.offset = tf.Variable(100, dtype=tf.int64)

    @tf.function(input_signature=[Spec([None], tf.string, "text")])
    def place(self, text):
        return {"place": self.table.lookup(text) + self.offset}


def place_of(servable, word):
    request = float_request([0.0])
    request.inputs.clear()
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([word]))
    return predict(servable, request).outputs["place"].int64_val[0]


def test_a_version_with_another_asset_shares_no_graph(load, tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    module = Named(str(tmp_path / "words.txt"))
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.place})
    for version in (2, 3):
        shutil.copytree(tmp_path / "1", tmp_path / str(version))
    [asset] = (tmp_path / "3" / "assets").iterdir()
    asset.write_text("two\none\n")
    one, same, other = (load(version, tmp_path) for version in (1, 2, 3))
    assert graph_of(same) is graph_of(one)
    assert graph_of(other) is not graph_of(one)
    assert [place_of(servable, "two") for servable in (one, same, other)] == [101, 101, 100]


class Counter(tf.Module):
    """Counts in a table that requests fill."""

    def __init__(self):
        super().__init__()
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
        self.step = tf.Variable(1, dtype=tf.int64)

    @tf.function(input_signature=[Spec([None], tf.string, "text")])
    def count(self, text):
        counted = self.table.lookup(text) + self.step
        with tf.control_dependencies([self.table.insert(text, counted)]):
            return {"place": tf.identity(counted)}


def test_a_graph_with_state_that_is_no_variable_is_not_shared(load, tmp_path):
    module = Counter()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.count})
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    one, two = load(1, tmp_path), load(2, tmp_path)
    assert graph_of(two) is not graph_of(one)
    assert [place_of(one, "a"), place_of(one, "a"), place_of(two, "a")] == [1, 2, 1]
