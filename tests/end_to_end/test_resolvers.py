"""What becomes the baseline, asked of a metadata store that recorded what the nodes did."""

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.types import standard_artifacts

from components.resolvers import LatestBlessedByBothStrategy, LatestBlessedOfOlderSpanStrategy


class History:
    """Models and what became of them."""

    def __init__(self, handle):
        self._handle = handle
        self._models = []
        self._blessings = []

    def train(self, *, evaluator=None, infra=None, span=0):
        """Record a model; a blessing is True, False, or None where the node never came to it."""
        model = standard_artifacts.Model()
        examples = self.ingest(span)
        self._record("Trainer", {"examples": [examples]}, {"model": [model]})
        self._models.append(model)
        if evaluator is not None:
            self._blessings.append(
                self._bless(standard_artifacts.ModelBlessing(), "Evaluator", model, evaluator)
            )
        if infra is not None:
            self._bless(standard_artifacts.InfraBlessing(), "InfraValidator", model, infra)
        return model

    def ingest(self, span):
        examples = standard_artifacts.Examples()
        examples.span = span
        self._record("ExampleGen", {}, {"examples": [examples]})
        return examples

    def base(self, span):
        """The model that a run over a span would now go on from, or None."""
        examples = [self.ingest(span)]
        chosen = LatestBlessedOfOlderSpanStrategy().resolve_artifacts(
            self._handle.store,
            {
                "model": list(self._models),
                "model_blessing": list(self._blessings),
                "examples": examples,
            },
        )
        assert chosen is not None
        assert chosen["examples"] == examples
        return chosen["model"][0].id if chosen["model"] else None

    def baseline(self):
        """The model that a run would now be compared with, or None."""
        chosen = LatestBlessedByBothStrategy().resolve_artifacts(
            self._handle.store,
            {"model": list(self._models), "model_blessing": list(self._blessings)},
        )
        assert chosen is not None
        return chosen["model"][0].id if chosen["model"] else None

    def _bless(self, blessing, node, model, blessed):
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_int_custom_property("current_model_id", model.id)
        self._record(node, {"model": [model]}, {"blessing": [blessing]})
        return blessing

    def _record(self, node, inputs, outputs):
        execution = execution_lib.prepare_execution(
            self._handle, mlmd.ExecutionType(name=node), state=mlmd.Execution.COMPLETE
        )
        execution_lib.put_execution(self._handle, execution, [], inputs, outputs)


@pytest.fixture
def history(tmp_path):
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    with metadata.Metadata(config) as handle:
        yield History(handle)


def test_nothing_was_ever_trained(history):
    assert history.baseline() is None


def test_the_newest_of_two_good_models_is_the_baseline(history):
    history.train(evaluator=True, infra=True)
    newest = history.train(evaluator=True, infra=True)
    assert history.baseline() == newest.id


@pytest.mark.parametrize("infra", [False, None])
def test_a_model_that_no_server_loads_is_no_baseline(history, infra):
    good = history.train(evaluator=True, infra=True)
    history.train(evaluator=True, infra=infra)
    assert history.baseline() == good.id


def test_a_model_that_evaluator_refused_is_no_baseline(history):
    good = history.train(evaluator=True, infra=True)
    history.train(evaluator=False, infra=True)
    assert history.baseline() == good.id


def test_first_model_that_no_server_loads_leaves_no_baseline(history):
    history.train(evaluator=True, infra=False)
    assert history.baseline() is None


def test_a_span_goes_on_from_the_newest_blessed_model_of_an_older_one(history):
    assert history.base(2) is None
    history.train(evaluator=True, infra=True, span=1)
    second = history.train(evaluator=True, infra=True, span=2)
    history.train(evaluator=False, infra=True, span=2)
    history.train(evaluator=True, infra=False, span=2)
    assert history.base(3) == second.id


def test_a_repeat_finds_the_same_model_as_the_run_before(history):
    older = history.train(evaluator=True, infra=True, span=1)
    history.train(evaluator=True, infra=True, span=2)
    assert history.base(2) == older.id


def test_the_first_span_and_data_without_spans_have_nothing_to_go_on_from(history):
    history.train(evaluator=True, infra=True, span=0)
    history.train(evaluator=True, infra=True, span=1)
    assert history.base(1) is None
    assert history.base(0) is None


def test_a_model_of_data_without_spans_is_nothing_to_go_on_from(history):
    history.train(evaluator=True, infra=True, span=0)
    assert history.base(2) is None
