"""What became of a candidate, in words: each gate alone, and what passes over it."""

from pathlib import Path

import pytest

from pipeline.config import Gate
from pipeline.outcome import Ending, GateDecision
from pipeline.verdict import Verdict, verdict

ERROR = Gate(metric="squared_error", slice="overall", direction="lower", bound=0.25, tolerance=None)
RECALL = Gate(metric="recall_at_20", slice="new", direction="higher", bound=0.1, tolerance=None)
KEPT, MISSED = GateDecision(ERROR, 0.2, None), GateDecision(RECALL, 0.05, None)
VERSION = Path("/somewhere/serving/debut/7")
SAYS = "recall_at_20 on slice new is 0.0500 (refused below 0.1)."
NO_ANSWER = "InfraValidator refused the model: a server with it did not answer."


def told(**changes):
    given = {"decisions": (KEPT,), "blessed": True, "infra_blessed": True, "version": None}
    return verdict(Ending(**{**given, "is_repeat": False, **changes}))


def refused(*reasons):
    return Verdict(False, "Refused: nothing was pushed", reasons)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": VERSION}, Verdict(True, "Pushed version 7", ())),
        (
            {"version": VERSION, "label": "canary"},
            Verdict(True, "Pushed version 7 as the canary", ()),
        ),
        (
            {"version": VERSION, "is_repeat": True},
            Verdict(True, "Nothing has changed since the run that pushed version 7", ()),
        ),
        # An earlier reason is no refusal of what was pushed without one.
        ({"version": VERSION, "withdrawn": "sold nothing"}, Verdict(True, "Pushed version 7", ())),
        (
            {
                "version": VERSION, "override": "the sale", "blessed": False,
                "decisions": (KEPT, MISSED), "withdrawn": "sold nothing",
            },
            Verdict(
                False,
                "Pushed version 7, over a refusal",
                (
                    "Reason: the sale",
                    SAYS,
                    "A rollback took this model out of service: sold nothing",
                ),
            ),
        ),
        ({"blessed": False, "decisions": (KEPT, MISSED)}, refused(SAYS)),
        # Of a model that Evaluator took, no gate is named.
        ({"decisions": (MISSED,), "infra_blessed": False}, refused(NO_ANSWER)),
        (
            {"blessed": False},
            refused("Evaluator refused the model, though it keeps the gates below."),
        ),
        (
            {"blessed": False, "decisions": (MISSED,), "infra_blessed": False},
            refused(SAYS, NO_ANSWER),
        ),
        (
            {"withdrawn": "sold nothing"},
            refused("A rollback took this model out of service: sold nothing"),
        ),
        ({}, Verdict(False, "Not pushed", ("Every gate passed, but nothing was pushed.",))),
        (
            {"is_finished": False},
            Verdict(
                False,
                "Not pushed",
                (
                    "Every gate passed, but the run did not come to its push: it goes on, or "
                    "failed.",
                ),
            ),
        ),
    ],
)  # fmt: skip
def test_the_verdict_names_what_was_pushed_or_all_that_refused_it(changes, expected):
    assert told(**changes) == expected
