"""What a run is compared with, asked of a metadata store that recorded what was pushed."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import standard_artifacts

from components.lineage import (
    EXPLORE,
    INSTEAD_OF,
    ITEMS_ADD,
    ITEMS_REFRESH,
    OVERRIDE,
    REASON,
    ROLLBACK,
    left_out,
    override_behind,
    push_of,
    read_pushes,
    withdrawn_models,
)
from components.recording import record_promotion, record_push
from components.resolvers import (
    LastPushedStatisticsStrategy,
    ServedModelStrategy,
    ServedOfOlderSpanStrategy,
)


class History:
    """Runs, what became of their models, and what was pushed outside TFX."""

    def __init__(self, handle):
        self._handle = handle
        self._models = []
        self._statistics = []
        self._versions = 0

    @property
    def store(self):
        return self._handle.store

    def run(self, *, blessed=True, pushed=True, label="stable", span=0):
        """Record a run; returns its model, its statistics and its version, if it pushed one."""
        context = context_lib.register_context_if_not_exists(
            self._handle, "pipeline_run", f"run-{len(self._models)}"
        )
        statistics = standard_artifacts.ExampleStatistics()
        self._record(context, "StatisticsGen", {}, {"statistics": [statistics]})
        self._statistics.append(statistics)
        model = standard_artifacts.Model()
        self._record(context, "Trainer", {"examples": [self.ingest(span)]}, {"model": [model]})
        self._models.append(model)
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_int_custom_property("current_model_id", model.id)
        self._record(context, "Evaluator", {"model": [model]}, {"blessing": [blessing]})
        out = standard_artifacts.PushedModel()
        out.set_int_custom_property("pushed", int(pushed))
        if pushed:
            self._versions += 1
            out.set_string_custom_property("pushed_version", str(self._versions))
            out.set_string_custom_property("label", label)
        self._record(
            context, "Pusher", {"model_blessing": [blessing]}, {"pushed_model": [out]}
        )  # fmt: skip
        return model, statistics, self._versions

    def derive(self, base, kind, *, version=0, **details):
        """Record a push that no run made; of the next version, or of a given one."""
        version = version or self._versions + 1
        self._versions = max(self._versions, version)
        record_push(
            self.store, Path("/serving", str(version)), base=Path("/serving", str(base)),
            kind=kind, label="stable", details=details,
        )  # fmt: skip
        return version

    def change_items(self, base):
        """Record a run of a pipeline that imports a version and trains nothing."""
        context = context_lib.register_context_if_not_exists(
            self._handle, "pipeline_run", f"items-{self._versions}"
        )
        imported, out = standard_artifacts.PushedModel(), standard_artifacts.PushedModel()
        imported.uri = f"/serving/{base}"
        self._record(context, "Importer", {}, {"result": [imported]})
        self._versions += 1
        out.uri = f"/artifacts/{self._versions}"
        out.set_int_custom_property("pushed", 1)
        out.set_string_custom_property("pushed_version", str(self._versions))
        out.set_string_custom_property("base", str(base))
        self._record(context, "Pusher", {}, {"pushed_model": [out]})
        return self._versions

    def roll_back(self, *, to, instead_of, reason="it sold nothing"):
        return self.derive(to, ROLLBACK, **{INSTEAD_OF: instead_of, REASON: reason})

    def ingest(self, span):
        examples = standard_artifacts.Examples()
        examples.span = span
        context = context_lib.register_context_if_not_exists(self._handle, "pipeline_run", "data")
        self._record(context, "ExampleGen", {}, {"examples": [examples]})
        return examples

    def take_from_the_cache(self, examples):
        context = context_lib.register_context_if_not_exists(self._handle, "pipeline_run", "again")
        self._record(context, "ExampleGen", {}, {"examples": [examples]})

    def base(self, span):
        """The model that a run over a span would now go on from, or None."""
        examples = [self.ingest(span)]
        chosen = ServedOfOlderSpanStrategy().resolve_artifacts(
            self.store, {"model": list(self._models), "examples": examples}
        )
        assert chosen is not None
        assert chosen["examples"] == examples
        return chosen["model"][0].id if chosen["model"] else None

    def baseline(self):
        """The model that a run would now be compared with, or None."""
        chosen = ServedModelStrategy().resolve_artifacts(self.store, {"model": list(self._models)})
        assert chosen is not None
        return chosen["model"][0].id if chosen["model"] else None

    def drift_baseline(self):
        """The statistics that a run would now be compared with, or None."""
        chosen = LastPushedStatisticsStrategy().resolve_artifacts(
            self.store, {"statistics": list(self._statistics)}
        )
        return chosen and chosen["statistics"][0].id

    def override(self, version):
        pushes = read_pushes(self.store)
        push = push_of(pushes, version)
        assert push is not None
        return override_behind(pushes, push)

    def left_out(self, version, data):
        return [push.version for push in left_out(self.store, version, data=data)]

    def withdrawn(self):
        return withdrawn_models(read_pushes(self.store))

    def _record(self, context, node, inputs, outputs):
        execution = execution_lib.prepare_execution(
            self._handle, mlmd.ExecutionType(name=node), state=mlmd.Execution.COMPLETE
        )
        execution_lib.put_execution(self._handle, execution, [context], inputs, outputs)


@pytest.fixture
def history(tmp_path):
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with metadata.Metadata(config) as handle:
        yield History(handle)


def test_nothing_was_ever_trained(history):
    assert history.baseline() is None and history.drift_baseline() is None


def test_the_newest_pushed_model_and_its_data_are_the_baseline(history):
    history.run()
    model, statistics, _ = history.run()
    assert history.baseline() == model.id
    assert history.drift_baseline() == statistics.id


@pytest.mark.parametrize("blessed", [False, True])
def test_a_model_that_was_not_pushed_is_no_baseline(history, blessed):
    """Evaluator refused it, or no server loads it, or the run was killed before the push."""
    model, statistics, _ = history.run()
    history.run(blessed=blessed, pushed=False)
    assert history.baseline() == model.id
    assert history.drift_baseline() == statistics.id


def test_first_model_that_is_not_pushed_leaves_no_baseline(history):
    history.run(pushed=False)
    assert history.baseline() is None


def test_a_refused_model_that_was_pushed_all_the_same_is_the_baseline(history):
    history.run()
    model, _, _ = history.run(blessed=False, pushed=True)
    assert history.baseline() == model.id


def test_items_that_were_added_leave_the_trained_model_the_baseline(history):
    model, statistics, version = history.run()
    history.derive(history.derive(version, ITEMS_ADD), ITEMS_ADD)
    assert history.baseline() == model.id
    assert history.drift_baseline() == statistics.id


def test_a_pipeline_that_changes_items_leaves_the_trained_model_the_baseline(history):
    model, statistics, version = history.run()
    history.change_items(history.change_items(version))
    assert history.baseline() == model.id
    assert history.drift_baseline() == statistics.id
    assert [push.base for push in read_pushes(history.store)] == [None, version, version + 1]


def test_after_a_rollback_what_is_served_is_the_baseline_and_the_other_is_withdrawn(history):
    old, statistics, first = history.run()
    new, _, second = history.run()
    with_items = history.derive(second, ITEMS_ADD)
    history.roll_back(to=first, instead_of=str(with_items))
    assert history.baseline() == old.id
    assert history.drift_baseline() == statistics.id
    assert history.withdrawn() == {new.id: "it sold nothing"}


def test_rolling_back_added_items_withdraws_no_model(history):
    model, _, version = history.run()
    history.roll_back(to=version, instead_of=str(history.derive(version, ITEMS_ADD)))
    assert history.baseline() == model.id and history.withdrawn() == {}


def test_a_push_that_a_rollback_overtook_on_its_way_to_the_record_brings_nothing_back(history):
    old, _, first = history.run()
    new, _, second = history.run()
    rolled_back = second + 2
    history.derive(first, ROLLBACK, version=rolled_back, instead_of=str(second), reason="it fell")
    history.derive(second, ITEMS_ADD, version=second + 1)
    assert history.withdrawn() == {new.id: "it fell"}
    assert history.baseline() == old.id


def test_a_withdrawn_model_that_is_brought_back_is_withdrawn_no_more(history):
    old, _, first = history.run()
    new, _, second = history.run()
    third = history.roll_back(to=first, instead_of=str(second))
    history.roll_back(to=second, instead_of=str(third), reason="it was the shop's fault")
    assert history.baseline() == new.id
    assert history.withdrawn() == {old.id: "it was the shop's fault"}


def test_what_is_made_of_an_overridden_version_stays_overridden(history):
    _, _, version = history.run()
    refused = history.derive(version, EXPLORE, **{OVERRIDE: "these sell"})
    added = history.derive(refused, ITEMS_ADD)
    other = history.derive(version, ITEMS_ADD)
    again = history.roll_back(to=added, instead_of=str(other))
    assert [history.override(one) for one in (version, refused, added, other, again)] == [
        "", "these sell", "these sell", "", "these sell",
    ]  # fmt: skip


def test_what_is_learned_anew_from_the_log_is_overridden_no_more(history):
    _, _, version = history.run()
    refused = history.derive(version, EXPLORE, **{OVERRIDE: "these sell"})
    passed = history.derive(refused, EXPLORE)
    assert history.override(history.derive(passed, ITEMS_ADD)) == ""
    once_more = history.derive(passed, EXPLORE, **{OVERRIDE: "these too"})
    assert history.override(once_more) == "these too"


def test_a_canary_is_no_baseline_until_it_is_promoted(history):
    stable, _, _ = history.run()
    canary, statistics, version = history.run(label="canary")
    assert history.baseline() == stable.id
    record_promotion(history.store, version, "it sells")
    assert history.baseline() == canary.id
    assert history.drift_baseline() == statistics.id


def test_a_rollback_withdraws_the_canary_too(history):
    old, _, first = history.run()
    stable, _, second = history.run()
    canary, _, third = history.run(label="canary")
    history.roll_back(to=first, instead_of=f"{second},{third}")
    assert history.baseline() == old.id
    assert set(history.withdrawn()) == {stable.id, canary.id}


def test_a_version_that_nobody_recorded_leaves_the_last_known_model_the_baseline(history):
    model, _, _ = history.run()
    history.derive(99, ITEMS_ADD)
    assert history.baseline() == model.id


def test_a_run_leaves_out_what_was_added_after_its_data_were_read(history):
    _, _, first = history.run()
    known = history.derive(first, ITEMS_ADD)
    data = history.ingest(0).id
    added = history.derive(known, ITEMS_ADD)
    explored = history.change_items(history.derive(added, EXPLORE))
    _, _, second = history.run()
    history.derive(second, ITEMS_ADD)
    assert history.left_out(second, data) == [added, explored - 1, explored]


def test_data_from_the_cache_were_read_when_they_were_first_read(history):
    data = history.ingest(0)
    _, _, first = history.run()
    told = history.derive(first, ITEMS_ADD)
    history.take_from_the_cache(data)
    _, _, second = history.run()
    added = history.derive(second, ITEMS_ADD)
    history.take_from_the_cache(data)
    _, _, third = history.run()
    assert history.left_out(second, data.id) == [told]
    assert history.left_out(third, data.id) == [added]


def test_a_run_leaves_out_what_a_rollback_brought_back_and_not_what_it_dropped(history):
    data = history.ingest(0).id
    _, _, first = history.run()
    added = history.derive(first, ITEMS_ADD)
    dropped = history.derive(added, ITEMS_ADD)
    history.roll_back(to=added, instead_of=str(dropped))
    assert history.left_out(history.run()[2], data) == [added]


def test_a_refresh_took_no_files_in_that_a_run_could_leave_out(history):
    data = history.ingest(0).id
    _, _, first = history.run()
    added = history.derive(history.derive(first, ITEMS_REFRESH), ITEMS_ADD)
    history.derive(added, ITEMS_REFRESH)
    assert history.left_out(history.run()[2], data) == [added]


def test_a_first_run_leaves_nothing_out(history):
    data = history.ingest(0).id
    assert history.left_out(history.run()[2], data) == []


def test_a_span_goes_on_from_what_was_last_served_of_an_older_one(history):
    assert history.base(2) is None
    history.run(span=1)
    second, _, _ = history.run(span=2)
    history.run(span=2, pushed=False)
    history.run(span=2, label="canary")
    assert history.base(3) == second.id


def test_a_span_goes_on_from_what_a_rollback_brought_back(history):
    older, _, first = history.run(span=1)
    _, _, second = history.run(span=2)
    history.roll_back(to=first, instead_of=str(second))
    assert history.base(3) == older.id


def test_a_repeat_goes_on_from_the_same_model_as_the_run_before(history):
    older, _, _ = history.run(span=1)
    history.run(span=2)
    assert history.base(2) == older.id


def test_the_first_span_and_data_without_spans_have_nothing_to_go_on_from(history):
    history.run(span=0)
    history.run(span=1)
    assert history.base(1) is None
    assert history.base(0) is None


def test_a_model_of_data_without_spans_is_nothing_to_go_on_from(history):
    history.run(span=0)
    assert history.base(2) is None
