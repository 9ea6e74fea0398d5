"""What the card of a version says that was made of another one, and how a card is shown."""

import re
from dataclasses import replace

import pytest
from lxml import html  # type: ignore[import-untyped]

from components.lineage import (
    EXPLORE,
    INSTEAD_OF,
    ITEMS_ADD,
    ITEMS_REFRESH,
    REASON,
    ROLLBACK,
    Push,
)
from models.record import TrainingRecord
from models.rules import RuleCount
from pipeline.config import load_configuration
from pipeline.model_card.derived import change, derived_card
from pipeline.model_card.trained import architecture, measured
from pipeline.model_card.writing import card_file, render, write_card

HOSTILE = "<script>alert(1)</script>"


def push(kind, **details):
    return Push(
        artifact=9, execution=9, version=12, kind=kind, seconds=0.0, by="ann@desk", base=11,
        label="stable", override="", details={"by": "ann@desk", **details}, run=1, model=2,
    )  # fmt: skip


def card():
    return {
        "schema_version": "0.0.2",
        "model_details": {
            "name": "debut", "overview": "Recommends.", "references": [{"reference": "run 1"}],
            "version": {"name": "11", "date": "2026-11-27", "diff": HOSTILE}, "path": "11",
        },
        "model_parameters": {
            "model_architecture": "Two towers.", "input_format": "Ids.", "output_format": "Lists.",
            "data": [{"name": "interactions", "description": "Many."}],
        },
        "quantitative_analysis": {
            "performance_metrics": [
                {"type": "gate: recall_at_20", "slice": "new", "value": "passed with 0.2000"},
                {"type": "recall_at_20", "slice": "new", "value": "0.2000"},
            ]
        },
        "considerations": {
            "users": [], "use_cases": [], "tradeoffs": [],
            "limitations": [{"description": "Little data."}],
            "ethical_considerations": [{"name": "Names.", "mitigation_strategy": "None."}],
        },
    }  # fmt: skip


def limits(found):
    return [one["description"] for one in found["considerations"]["limitations"]]


def test_what_was_added_since_is_not_in_the_figures_and_the_card_says_so_once():
    once = derived_card(card(), push(ITEMS_ADD, added="3"))
    twice = derived_card(once, push(ITEMS_ADD, added="2"))
    assert limits(once) == limits(twice) and len(limits(once)) == 2
    assert "not in them" in limits(once)[1]
    references = [one["reference"] for one in twice["model_details"]["references"]]
    assert references == ["PushedModel 9, made of version 11 by ann@desk"] * 2 + ["run 1"]
    assert change(push(ITEMS_ADD, added="3")).endswith("(added 3).")


def test_a_refreshed_version_is_told_from_one_with_other_products_and_has_the_same_figures():
    made = push(ITEMS_REFRESH)
    assert change(made) == "The dates of the rules were taken up as of that day."
    assert limits(derived_card(card(), made)) == ["Little data."]


RECORD = TrainingRecord(
    start="fresh", replayed=0, before={}, after={}, kept_step=0, curve=[], fine_tuned=None,
    kernel={"ridge": 0.25}, items=9, users=9, interactions=9, implicit=True, parameters=1234,
    tuned={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "over the BERT encoder tiny, 1,234 trained"),
        (
            {"student": "static"},
            "over word vectors without layers, taught by the BERT encoder tiny, 1",
        ),
        (
            {"student": "layers", "layers": 2, "weights": "int8"},
            "over the lowest 2 layers of the BERT encoder tiny, taught by the whole, in 8 bits, 1",
        ),
    ],
)
def test_a_card_names_the_encoder_that_was_trained(changes, said):
    options = load_configuration().compression.model_copy(update=changes)
    told = architecture(RECORD.model_copy(update={"encoder": options.made_of("tiny")}))
    assert said in told and "rules" not in told


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("/home/ann/encoders/ours", "ours"),
    ],
)
def test_a_card_says_nothing_of_where_an_encoder_lies(name, title):
    encoder = load_configuration().encoder.model_copy(update={"name": name})
    assert encoder.title == title


def test_a_card_lists_the_rules_that_the_model_keeps():
    rules = [
        RuleCount(rule="block", numbers="", items=1200, unknown=3, such_as=("a", "b", "c")),
        RuleCount(rule="price", numbers="max 9", items=1),
        RuleCount(rule="boosts.0", numbers="factor 2", items=5),
        RuleCount(rule="new_share", numbers="0.2", items=None),
    ]
    assert architecture(RECORD.model_copy(update={"rules": rules})).endswith(
        "Lists keep the rules of the shop: block (items 1,200, unknown names 3), price (max 9, "
        "shuts out 1), boosts.0 (factor 2, items 5), new_share (0.2)."
    )


def test_a_rollback_has_the_figures_of_what_it_brought_back_and_its_reason():
    back = push(ROLLBACK, **{REASON: "it sold out", INSTEAD_OF: "11"})
    assert limits(derived_card(card(), back)) == ["Little data."]
    assert change(back) == "An earlier version was pushed again: it sold out"


def test_a_card_says_that_a_gate_refused_what_was_explored_and_why_that_was_passed_over():
    reason = "the holiday week is no measure"
    made = replace(push(EXPLORE, policy="thompson", override=reason), override=reason)
    assert change(made) == (
        "What lists have shown of new items was learned (policy thompson), though a gate refused "
        f"it: {reason}"
    )


def test_a_card_leaves_out_what_says_nothing_in_a_slice():
    values = {"cold_recall_at_20": 0.25, "recall_at_20": 0.5, "ips_recall_at_20": float("nan")}
    told = measured({"overall": values, "new": values, "new_niche_items": values})
    assert [(one["type"], one["slice"], one["value"]) for one in told] == [
        ("recall_at_20", "overall", "0.5000"),
        ("recall_at_20", "new", "0.5000"),
        ("cold_recall_at_20", "new", "0.2500"),
        ("recall_at_20", "new_niche_items", "0.5000"),
        ("cold_recall_at_20", "new_niche_items", "0.2500"),
    ]


def test_the_page_holds_texts_as_texts_and_loads_nothing():
    page = render(card())
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in page and not re.search(r"<script|https?://", page)
    assert "<code>recall_at_20</code></th><td>new</td><td>passed with 0.2000" in page


def test_each_table_of_the_page_has_a_caption_and_a_name_of_its_own():
    page = html.document_fromstring(render(card()))
    assert [one.findtext("caption") for one in page.iter("table")] == [
        "Model gates", "Metrics on new",
    ]  # fmt: skip
    regions = page.xpath("//*[@role='region']/@aria-label")
    sections = [one.findtext("h2") for one in page.iter("section")]
    names = [*regions, *sections]
    assert "Gates" in sections and len(names) == len(set(names))


def test_a_version_that_was_not_recorded_has_no_card(tmp_path):
    assert write_card(tmp_path, 7) is None
    assert not card_file(tmp_path, 7).exists()
