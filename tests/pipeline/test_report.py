"""The report: what it shows of a run, that it loads nothing, and that no half page is seen."""

import dataclasses
import gzip
import hashlib
import hmac
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import tensorflow as tf
import yaml
from lxml import html  # type: ignore[import-untyped]
from matplotlib.figure import Figure
from prometheus_client.parser import text_string_to_metric_families

from components.ingestion.folder import open_folder
from components.ingestion.summary import FileCounts, IngestionSummary, QuarantineReason
from models.metrics import Bin
from models.record import CurvePoint, FineTuned, MeasuredPoint, TrainingRecord
from models.rules import RuleCount
from pipeline.config import load_configuration
from pipeline.drift import Drift, FeatureDrift, write_drift_metrics
from pipeline.outcome import GateDecision, Outcome
from pipeline.report import NewProduct, ReachedCustomer, Reason, new_products_reached, write_report

GATES = """gates.model=[
  {metric: squared_error, slice: overall, direction: lower, bound: 0.25, tolerance: 0.01},
  {metric: recall_at_20, slice: seen, direction: higher, bound: 0.0, tolerance: 0.03},
  {metric: cold_recall_at_20, slice: new, direction: higher, bound: 0.01, tolerance: 0.03},
]"""
CONFIG = load_configuration(settings=[GATES])
SLICES = ("overall", "seen", "new")
NASTY = '<script>alert("x")</script> & "quotes"'

CANDIDATE = {
    name: {
        "squared_error": 0.1012 + shift,
        "recall_at_20": 0.2034 + shift,
        "ndcg_at_20": 0.1056 + shift,
        "mrr_at_20": 0.0578 + shift,
        "cold_recall_at_20": 0.4123 + shift,
        "cold_ndcg_at_20": 0.2245 + shift,
        "recall_at_50": 0.3111 + shift,
        "example_count": 91234.0,
        "weighted_example_count": 91234.0,
    }
    for shift, name in zip((0.0, 0.01, 0.02), SLICES, strict=True)
}
BASELINE = {
    name: {metric: value - 0.005 for metric, value in values.items()}
    for name, values in CANDIDATE.items()
}
SUMMARY = IngestionSummary(
    files=(
        FileCounts(
            name="interactions.csv.gz", table="interactions", read=10_000, emitted=9_985,
            replaced=0, quarantined=15,
            reasons=(
                QuarantineReason(
                    reason="item not in the catalogue", column="item_id", count=12,
                    first_rows=(7, 21, 380, 381, 900),
                ),
                QuarantineReason(
                    reason="malformed quoting", column="", count=3, first_rows=(11, 12, 4567)
                ),
            ),
        ),
        FileCounts(
            name="items.csv.gz", table="items", read=3_659, emitted=3_600, replaced=59,
            quarantined=0, reasons=(),
        ),
    ),
    splits={"train": 8_000, "eval": 1_500, "new_items": 485},
    is_implicit=False, rating_min=1, rating_max=5,
    users=4_313, items=3_600, new_products=741, held_out_items=291,
)  # fmt: skip
TRAINING = TrainingRecord(
    start="fresh", replayed=0,
    before={"recall": 0.311, "ndcg": 0.152, "score": 0.2315, "squared_error": 0.25},
    after={"recall": 0.4205, "ndcg": 0.223, "score": 0.32175, "squared_error": 0.22},
    kept_step=75,
    kernel={"ridge": 0.25, "order": 2.0, "side": 0.02},
    curve=[
        CurvePoint(step=0, values={"squared_error": 0.25}),
        *(
            CurvePoint(
                step=step,
                values={
                    "squared_error": error, "profile_loss": 5.0 - step / 60,
                    "rating_loss": 0.2 - step / 2000,
                },
            )
            for step, error in ((25, 0.24), (50, 0.23), (75, 0.22), (100, 0.23))
        ),
    ],
    fine_tuned=None,
    items=3_600, users=4_313, interactions=8_000, implicit=False, parameters=1_234_567, tuned={},
    first_interactions=[
        MeasuredPoint(at=count, values={"recall": 0.31 + count / 100}) for count in (0, 1, 2, 5)
    ],
    labelled_share=[
        MeasuredPoint(
            at=percent,
            values={
                "recall, words alone": 0.2 + percent / 1000,
                "recall, with encoder": 0.25 + percent / 1000,
                "squared_error, words alone": 0.09 - percent / 10_000,
                "squared_error, with encoder": 0.08 - percent / 10_000,
            },
        )
        for percent in (1, 5, 20, 100)
    ],
    exposure=[
        MeasuredPoint(at=at, values={"recall": 0.4, "gini": 0.7 - at / 100, "coverage": 0.9})
        for at in (0, 20)
    ],
)  # fmt: skip
REACHED = (
    NewProduct(
        item_id="22371",
        title="AIRLINE BAG VINTAGE TOKYO 78",
        price=1234.5,
        customers=(
            ReachedCustomer(
                "13047",
                1,
                3.14159,
                ("RED RETROSPOT MUG", "JUMBO BAG PINK"),
                (Reason("JUMBO BAG PINK", 0.451), Reason(NASTY, 0.2)),
                (Reason("bag", 0.35),),
            ),
            ReachedCustomer("00042", 2, 2.5, ("SET OF 6 SPICE TINS",)),
            ReachedCustomer("18074", 2, 2.25, ()),
            ReachedCustomer("17850", 9, 0.5, ("HAND WARMER",)),
        ),
        sampled=200,
    ),
    NewProduct(
        "x<b>1", NASTY, None, (ReachedCustomer("<i>u</i>", 4, -1.0, (NASTY,)),), sampled=200
    ),
)


def decisions(baseline=None):
    return tuple(
        GateDecision(
            gate,
            CANDIDATE[gate.slice][gate.metric],
            baseline and baseline[gate.slice][gate.metric],
        )
        for gate in CONFIG.gates.model
    )


def outcome(**changes):
    given = {
        "run_id": "2026-11-23T17:08:58.185524",
        "summary": SUMMARY,
        "training": TRAINING,
        "metrics": {"candidate": CANDIDATE},
        "decisions": decisions(),
        "blessed": True,
        "infra_blessed": True,
        "version": Path("/somewhere/serving/debut/1795453738"),
        "is_repeat": False,
        "calibration": {
            "overall": [Bin(2000, 0.5, 0.5)],
            "seen": [Bin(1200, 0.25, 0.2), Bin(300, 0.875, 0.9)],
            "new": [Bin(485, 0.6, 0.45)],
        },
        "durations": {"DataFolderExampleGen": 12.34, "TwoTowerTrainer": 98.7, "Pusher": 0.2},
    }
    return Outcome(**{**given, **changes})


def write(folder, run=None, reached=REACHED):
    page = write_report(run or outcome(), CONFIG, reached, folder)
    return html.document_fromstring(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a first run that pushed; only read."""
    return write(tmp_path_factory.mktemp("report"))


def table(page, caption):
    """The rows of the table whose caption begins so, as lists of texts, the header first."""
    (found,) = [
        t for t in page.iter("table") if t.find("caption").text_content().startswith(caption)
    ]
    return [[" ".join(cell.text_content().split()) for cell in row] for row in found.iter("tr")]


def metric_cells(page, caption):
    """What stands in the cells of a table of metrics, by metric and slice."""
    (corner, *columns), *rows = table(page, caption)
    found = {
        (name, column) if corner == "Metric" else (column, name): text
        for name, *texts in rows
        for column, text in zip(columns, texts, strict=True)
    }
    return {place: text for place, text in found.items() if text}


def banner(page):
    return " ".join(page.find_class("banner")[0].text_content().split())


def test_page_is_named_by_its_run_and_says_which_version_was_pushed(tmp_path):
    page = write_report(outcome(), CONFIG, REACHED, tmp_path / "new" / "report")
    assert page == tmp_path / "new" / "report" / "2026-11-23T17:08:58.185524.html"
    parsed = html.document_fromstring(page.read_text(encoding="utf-8"))
    assert "2026-11-23T17:08:58.185524" in parsed.findtext(".//title")
    assert "2026-11-23T17:08:58.185524" in parsed.findtext(".//h1")
    assert banner(parsed) == "Pushed version 1795453738"


def test_refusal_names_gate_metric_slice_and_values(tmp_path):
    worse = {
        name: {metric: value + 0.1 for metric, value in values.items()}
        for name, values in CANDIDATE.items()
    }
    run = outcome(
        metrics={"candidate": CANDIDATE, "baseline": worse},
        decisions=decisions(worse), blessed=False, version=None,
    )  # fmt: skip
    page = write(tmp_path, run)
    assert banner(page).startswith("Refused")
    # Squared error fell by 0.1, which is better; both recalls fell by more than their tolerance.
    assert "squared_error" not in banner(page)
    assert "recall_at_20 on slice seen is 0.2134" in banner(page)
    assert "baseline 0.3134 with tolerance 0.03" in banner(page)
    assert "cold_recall_at_20 on slice new is 0.4323" in banner(page)
    assert "InfraValidator" not in banner(page)
    assert [row[2] for row in table(page, "Model gates")[1:]] == ["passed", "refused", "refused"]


def test_refusal_for_want_of_held_out_interactions_says_where_to_hold_out_more(tmp_path):
    unmeasured = GateDecision(CONFIG.gates.model[1], math.nan, None)
    run = outcome(decisions=(unmeasured,), blessed=False, version=None)
    said = banner(write(tmp_path, run))
    assert "recall_at_20 on slice seen has no value" in said and "data.eval_user_share" in said


def test_refusal_by_the_infra_validator_is_not_put_on_the_metrics(tmp_path):
    page = write(tmp_path, outcome(infra_blessed=False, version=None))
    assert banner(page).startswith("Refused") and "InfraValidator" in banner(page)
    assert "recall" not in banner(page)


def test_a_gate_without_a_tolerance_looks_at_the_bound_alone(tmp_path):
    gate = CONFIG.gates.model[1].model_copy(update={"tolerance": None})
    decision = GateDecision(gate, 0.1, 0.9)
    assert decision.passed and "baseline" not in decision.explain()
    rows = table(write(tmp_path, outcome(decisions=(decision,))), "Model gates")
    assert rows[1][-2:] == ["0.9000", "–"]


def test_exposure_shows_its_measures_the_groups_and_what_more_even_lists_cost(tmp_path):
    new = CANDIDATE["new"] | {"cold_gini_at_20": 0.6, "cold_coverage_at_20": 0.8}
    overall = CANDIDATE["overall"] | {"gini_at_20": 0.7, "new_share_at_20": math.nan}
    groups = {
        "seen_niche_items": {"recall_at_20": 0.1, "cold_recall_at_20": 0.9, "example_count": 10.0},
        "new_for_light_users": {"recall_at_20": 0.2, "cold_recall_at_20": 0.3},
    }
    metrics = {**CANDIDATE, "overall": overall, "new": new, **groups}
    curve = [
        MeasuredPoint(at=at, values={"recall": recall, "gini": gini, "coverage": 0.9})
        for at, recall, gini in ((0, 0.4, 0.7), (20, 0.39, 0.5))
    ]
    training = TRAINING.model_copy(update={"exposure": curve, "exposure_strength": 0.2})
    page = write(tmp_path, outcome(metrics={"candidate": metrics}, training=training))
    assert metric_cells(page, "Exposure by slice") == {
        ("gini_at_20", "overall"): "0.7000",
        ("cold_gini_at_20", "new"): "0.6000",
        ("cold_coverage_at_20", "new"): "0.8000",
    }
    header, *rows = table(page, "Recall by group")
    assert header == ["Slice", "recall_at_20", "cold_recall_at_20", "example_count"]
    assert [row[0] for row in rows] == ["seen_niche_items", "new_for_light_users"]
    # Of new items it is the rank among new ones that counts.
    assert metric_cells(page, "Recall by group") == {
        ("recall_at_20", "seen_niche_items"): "0.1000",
        ("cold_recall_at_20", "new_for_light_users"): "0.3000",
        ("example_count", "new_for_light_users"): "–",
        ("example_count", "seen_niche_items"): "10",
    }
    assert table(page, "Even exposure")[1:] == [
        ["0", "0.4000", "0.7000", "0.9000"], ["20", "0.3900", "0.5000", "0.9000"],
    ]  # fmt: skip
    assert "with a strength of 20" in page.text_content()


def test_gates_show_bound_tolerance_and_both_values(tmp_path):
    run = outcome(
        metrics={"candidate": CANDIDATE, "baseline": BASELINE}, decisions=decisions(BASELINE)
    )
    assert table(write(tmp_path, run), "Model gates")[1:] == [
        ["squared_error", "overall", "passed", "0.1012", "≤ 0.25", "0.0962", "0.01"],
        ["recall_at_20", "seen", "passed", "0.2134", "≥ 0.0", "0.2084", "0.03"],
        ["cold_recall_at_20", "new", "passed", "0.4323", "≥ 0.01", "0.4273", "0.03"],
    ]


def test_first_run_has_no_baseline_and_says_why(page):
    assert table(page, "Main metrics")[0] == ["Metric", *SLICES]
    assert metric_cells(page, "Main metrics")["recall_at_20", "seen"] == "0.2134"
    assert "no model was pushed before" in page.text_content()


def test_metrics_say_that_the_eval_split_chose_the_step_that_was_kept(page):
    [section] = page.xpath("//section[@aria-labelledby='metrics']")
    text = " ".join(section.text_content().split())
    assert "kept the step with the least squared error on those of the eval split" in text


def test_metrics_stand_beside_the_baseline_and_say_which_is_better(tmp_path):
    equal = {"ndcg_at_20": CANDIDATE["new"]["ndcg_at_20"]}
    baseline = {**BASELINE, "new": {**BASELINE["new"], **equal}}
    run = outcome(metrics={"candidate": CANDIDATE, "baseline": baseline})
    page = write(tmp_path, run)
    main = metric_cells(page, "Main metrics")
    for shift, name in zip((0.0, 0.01, 0.02), SLICES, strict=True):
        for metric, value, word in (
            ("squared_error", 0.1012 + shift, "worse"),
            ("recall_at_20", 0.2034 + shift, "better"),
        ):
            shown = f"{value:.4f} {value - 0.005:.4f} before +0.0050 {word}"
            assert main[metric, name] == shown
        assert main["example_count", name] == "91,234"
    assert main["ndcg_at_20", "new"] == "0.1256 0.1256 before +0.0000"
    # The true item of a seen slice is not among the cold items.
    assert {name for metric, name in main if metric.startswith("cold_")} == {"new"}
    everything = metric_cells(page, "All metrics")
    assert everything["weighted_example_count", "new"] == "91,234"
    assert set(everything) == {
        (metric, name)
        for metric in CANDIDATE["new"]
        for name in (("new",) if metric.startswith("cold_") else SLICES)
    }


@pytest.mark.parametrize(
    ("metric", "candidate", "baseline", "interactions", "judged"),
    [
        ("squared_error", 0.1 + 0.2, 0.3, 15_000, ""),  # by the last bit of a double
        ("squared_error", 0.29996, 0.3, 15_000, ""),
        ("squared_error", 0.2999, 0.3, 15_000, "better"),
        ("recall_at_20", 31 / 166, 30 / 166, 166, ""),  # one hit
        # 1.96 standard errors of such a difference are 0.0391.
        ("recall_at_20", 0.539, 0.5, 1250, ""),
        ("recall_at_20", 0.54, 0.5, 1250, "better"),
        ("recall_at_20", 0.46, 0.5, 1250, "worse"),
        ("ips_recall_at_20", 0.539, 0.5, 1250, ""),
        ("ips_recall_at_20", 1.2, 1.1, 1250, "better"),
        # Of how evenly items are shown, nothing is known but the value.
        ("gini_at_20", 0.51, 0.5, 166, "worse"),
    ],
)
def test_no_difference_is_judged_that_the_data_can_not_tell(
    tmp_path, metric, candidate, baseline, interactions, judged
):
    count = {"example_count": float(interactions)}
    metrics = {
        "candidate": CANDIDATE | {"overall": {metric: candidate, **count}},
        "baseline": BASELINE | {"overall": {metric: baseline, **count}},
    }
    cells = metric_cells(write(tmp_path, outcome(metrics=metrics)), "All metrics")
    shown = f"{candidate:.4f} {baseline:.4f} before {candidate - baseline:+.4f} {judged}"
    assert cells[metric, "overall"] == shown.strip()


def spans_of(values):
    """Metrics of two spans, of all interactions and of those with new items."""
    return {
        f"span {span}{new}": {metric: value + span / 100 for metric, value in values.items()}
        for span in (1, 2)
        for new in ("", ", new")
    }


def test_forgetting_and_gain_of_each_span_stand_in_a_table(tmp_path):
    run = outcome(
        summary=SUMMARY.model_copy(update={"spans": (1, 2)}),
        metrics={
            "candidate": CANDIDATE | spans_of(CANDIDATE["new"]),
            "baseline": BASELINE | spans_of(BASELINE["new"]),
        },
    )
    page = write(tmp_path, run)
    header, *rows = table(page, "Forgetting and gain by span")
    assert header == [
        "Slice", "recall_at_20", "cold_recall_at_20", "squared_error", "example_count"
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["span 1", "span 2", "span 1, new", "span 2, new"]
    found = metric_cells(page, "Forgetting and gain by span")
    assert set(found) == {
        (metric, f"span {span}{new}")
        for metric, new in (
            ("recall_at_20", ""), ("cold_recall_at_20", ", new"), ("squared_error", ""),
            ("example_count", ""),
        )
        for span in (1, 2)
    }  # fmt: skip
    assert found["recall_at_20", "span 2"] == "0.2434 0.2384 before +0.0050 better"
    assert found["cold_recall_at_20", "span 1, new"] == "0.4423 0.4373 before +0.0050 better"
    assert found["squared_error", "span 1"] == "0.1312 0.1262 before +0.0050 worse"


def test_one_span_alone_has_no_table_of_spans(page):
    assert "Forgetting and gain" not in page.text_content()


def test_metric_that_was_not_measured_is_a_dash(tmp_path):
    metrics = {**CANDIDATE, "new": {"cold_recall_at_20": float("nan")}}
    cells = metric_cells(write(tmp_path, outcome(metrics={"candidate": metrics})), "Main metrics")
    assert cells["cold_recall_at_20", "new"] == cells["recall_at_20", "new"] == "–"


def test_every_row_of_the_data_is_accounted_for(page):
    assert table(page, "Rows by file")[1:] == [
        ["interactions.csv.gz", "10,000", "9,985", "0", "15", f"{15 / 10_000:.2%}"],
        ["items.csv.gz", "3,659", "3,600", "59", "0", "0.00%"],
    ]
    assert table(page, "Quarantine")[1:] == [
        [
            "interactions.csv.gz", "item_id", "item not in the catalogue", "12",
            "7, 21, 380, 381, 900, …",
        ],
        ["interactions.csv.gz", "(whole row)", "malformed quoting", "3", "11, 12, 4567"],
    ]  # fmt: skip
    assert table(page, "Interactions by split")[1:] == [
        ["train", "8,000", f"{8000 / 9985:.1%}"],
        ["eval", "1,500", f"{1500 / 9985:.1%}"],
        ["new_items", "485", f"{485 / 9985:.1%}"],
    ]
    facts = {d.findtext("dt"): d.findtext("dd") for d in page.iterfind(".//dl/div")}
    assert facts["New products"] == "741" and facts["Held out as if new"] == "291"
    assert facts["Feedback"] == "ratings 1 to 5"


def test_training_shows_before_after_what_they_are_of_and_the_kept_step(page):
    assert table(page, "Before and after training")[1:] == [
        ["recall", "simulated new items, at 20", "0.3110", "0.4205", "+0.1095"],
        ["ndcg", "simulated new items, at 20", "0.1520", "0.2230", "+0.0710"],
        ["score", "simulated new items, at 20", "0.2315", "0.3217", "+0.0902"],
        ["squared_error", "eval split", "0.2500", "0.2200", "-0.0300"],
    ]
    steps = table(page, "Values by validated step")
    assert steps[0][0] == "Step" and [row[0] for row in steps[1:]] == ["0", "25", "50", "75", "100"]
    assert steps[1][-2:] == ["–", "–"]  # nothing is lost before the first step
    curves = {
        "Squared error of ratings on the eval split": "squared error",
        "Profile loss of the training batch": "profile loss",
        "Rating loss of the training batch": "rating loss",
    }
    for title, measure in curves.items():
        [plot] = drawn(page, title)
        assert plot.get("role") == "img" and "75" in plot.get("aria-label")
        assert {measure, "step", "kept: step 75"} <= {text.text for text in plot.iter("text")}


def drawn(page, title):
    """The drawings below a title that everybody sees."""
    return [
        figure.find("svg")
        for figure in page.iter("figure")
        if figure.findtext("figcaption") == title
    ]


def test_more_data_is_drawn_and_stands_in_tables(page):
    assert table(page, "Recall at 20 by first interactions") == [
        ["First interactions", "recall"],
        ["0", "0.3100"], ["1", "0.3200"], ["2", "0.3300"], ["5", "0.3600"],
    ]  # fmt: skip
    assert table(page, "Quality by share of the interactions")[:2] == [
        [
            "Per cent of the interactions", "recall, words alone", "recall, with encoder",
            "squared error, words alone", "squared error, with encoder",
        ],
        ["1", "0.2010", "0.2510", "0.0899", "0.0799"],
    ]  # fmt: skip
    [first] = drawn(page, "Recall at 20 by first interactions")
    assert {"recall", "first interactions"} <= {text.text for text in first.iter("text")}
    shares = drawn(page, "Quality by share of the interactions")
    for plot, measure in zip(shares, ("recall", "squared error"), strict=True):
        shown = {text.text for text in plot.iter("text")}
        # On a logarithmic axis, with the places that were measured as ticks.
        assert {measure, "words alone", "with encoder", "1", "5", "20", "100"} <= shown
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """All drawings of a page, as Matplotlib has them."""
    found, save = [], Figure.savefig

    def keep(self, *arguments, **options):
        found.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    write(tmp_path)
    return found


def test_no_legend_is_cut_off(figures):
    assert len(figures) == 8
    for figure in figures:
        figure.draw_without_rendering()  # saving left the places of another resolution
        [legend] = figure.legends
        for text in legend.get_texts():
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width, text.get_text()


def test_a_small_gain_in_recall_looks_small(figures):
    recalls = [figure for figure in figures if figure.axes[0].get_ylabel() == "recall"]
    assert [figure.axes[0].get_ylim()[0] for figure in recalls] == [0, 0]


def test_ratings_stand_beside_what_was_given_and_say_how_far_they_are_apart(page, figures):
    text = " ".join(page.text_content().split())
    # (1200 · 0.05 + 300 · 0.025) / 1500, and what the single tenth of the new ones is apart.
    assert "On average they are 0.0450 apart in seen, 0.1500 apart in new." in text
    assert "the share that was bought" not in text
    assert table(page, "Ratings by tenths") == [
        ["Slice", "Predicted", "Given", "Ratings"],
        ["seen", "0.250", "0.200", "1,200"], ["seen", "0.875", "0.900", "300"],
        ["new", "0.600", "0.450", "485"],
    ]  # fmt: skip
    [plot] = drawn(page, "Ratings that were predicted and given")
    assert {"seen", "new", "right"} <= {text.text for text in plot.iter("text")}
    [axes] = [f.axes[0] for f in figures if f.axes[0].get_xlabel() == "predicted"]
    seen, new, right = (line.get_xydata().tolist() for line in axes.lines)
    assert (seen, new) == ([[0.25, 0.2], [0.875, 0.9]], [[0.6, 0.45]])
    assert right[0] == [0, 0] and axes.lines[2].get_slope() == 1


def test_a_chance_of_a_purchase_is_held_against_the_share_that_was_bought(tmp_path):
    changes = {"is_implicit": True, "rating_min": None, "rating_max": None}
    page = write(tmp_path, outcome(summary=SUMMARY.model_copy(update=changes)))
    text = " ".join(page.text_content().split())
    assert "the share that was bought" in text
    assert "weights of the chance of a purchase were fitted to those of the eval split" in text
    assert "kept the step with the least squared error" not in text


def test_a_run_of_an_older_debut_shows_no_ratings(tmp_path):
    assert "Ratings" not in [h.text for h in write(tmp_path, outcome(calibration={})).iter("h3")]


def test_curves_that_nothing_was_measured_for_are_left_out(tmp_path):
    training = TRAINING.model_copy(update={"first_interactions": [], "labelled_share": []})
    page = write(tmp_path, outcome(training=training))
    assert "With more data" not in page.text_content()


@pytest.mark.parametrize(("after", "kept"), [(0.3517, "fine-tuned"), (0.3001, "frozen")])
def test_fine_tuning_shows_both_recalls_and_the_encoder_that_was_kept(tmp_path, after, kept):
    tuned = FineTuned(before=0.3333, after=after, trainable=7_000_000)
    page = write(tmp_path, outcome(training=TRAINING.model_copy(update={"fine_tuned": tuned})))
    text = " ".join(page.text_content().split())
    assert "7,000,000 parameters" in text and f"from 0.3333 to {after}" in text
    assert f"the {kept} encoder was kept" in text


def test_what_a_tuner_found_is_shown(tmp_path):
    tuned = {"model.teacher_regularization": 314.159, "training.learning_rate": 0.00012345}
    page = write(tmp_path, outcome(training=TRAINING.model_copy(update={"tuned": tuned})))
    text = " ".join(page.text_content().split())
    assert "Tuned: model.teacher_regularization314" in text
    assert "Tuned: training.learning_rate0.000123" in text


def test_the_rules_of_a_run_are_listed_as_texts(tmp_path):
    rules = [RuleCount(rule="back_off", numbers="separator <b>", items=12)]
    page = write(tmp_path, outcome(training=TRAINING.model_copy(update={"rules": rules})))
    text = " ".join(page.text_content().split())
    assert "counted over its catalogue: back_off (separator <b>, items 12)" in text


def test_training_without_a_step_has_no_plot_of_losses(tmp_path):
    changes = {
        "curve": TRAINING.curve[:1], "kept_step": 0, "first_interactions": [], "labelled_share": [],
        "exposure": [],
    }  # fmt: skip
    training = TRAINING.model_copy(update=changes)
    run = outcome(training=training, calibration={})
    assert len(write(tmp_path, run).findall(".//svg")) == 1


def test_new_products_stand_with_the_customers_they_reached(page):
    (product, _) = page.find_class("product")
    assert product.findtext("h3") == "AIRLINE BAG VINTAGE TOKYO 78"
    assert "22371" in product.findtext("p") and "1,234.50" in product.findtext("p")
    assert "in whose lists of 10 new products" in " ".join(page.text_content().split())
    rows = table(product, "In the lists of 4 of 200 sampled customers; the 3 best")
    assert rows[1:] == [
        [
            "1",
            "13047",
            "3.14",
            "RED RETROSPOT MUGJUMBO BAG PINK",
            f"45% JUMBO BAG PINK20% {NASTY}",
            "35% bag",
        ],
        ["2", "00042", "2.50", "SET OF 6 SPICE TINS", "", ""],
        ["2", "18074", "2.25", "", "", ""],
    ]


def test_durations_are_summed_and_the_longest_fills_its_bar(page):
    assert table(page, "Time by node, 1 min 51 s in all")[1:] == [
        ["DataFolderExampleGen", "12.3 s", ""],
        ["TwoTowerTrainer", "1 min 39 s", ""],
        ["Pusher", "0.2 s", ""],
    ]
    bars = [bar.get("style") for bar in page.find_class("bar")]
    assert bars == [f"--share: {100 * t / 98.7:.1f}%" for t in (12.34, 98.7, 0.2)]


def test_configuration_reads_back_as_it_was(page):
    shown = yaml.safe_load(page.findtext(".//pre"))
    assert type(CONFIG).model_validate(shown) == CONFIG


def test_text_of_the_shop_is_never_markup(page):
    assert not list(page.iter("script")) and not page.findall(".//article//b")
    assert NASTY in [heading.text for heading in page.iter("h3")]
    assert NASTY in [item.text for item in page.iter("li")]
    assert "<i>u</i>" in [cell.text for cell in page.iter("th")]


def test_page_loads_nothing_from_outside(tmp_path):
    write(tmp_path)
    for file in tmp_path.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        namespaces = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
        for namespace in namespaces:
            text = text.replace(f'"{namespace}"', '""')
        assert not re.search(r"https?://|@import|\bsrc\s*=|url\((?!#)", text)
        page = html.document_fromstring(text)
        links = [e.get("href") for e in page.iter() if e.get("href") is not None]
        assert all(link.startswith(("#", "./", "data:,")) for link in links)
        (policy,) = page.xpath('//meta[@http-equiv="Content-Security-Policy"]/@content')
        assert policy.startswith("default-src 'none'")


def test_page_can_be_read_by_a_screen_reader(page):
    assert page.get("lang") == "en"
    assert all(t.find("caption") is not None for t in page.iter("table"))
    assert all(cell.get("scope") and cell.text_content().strip() for cell in page.iter("th"))
    levels = [int(h.tag[1]) for h in page.iter("h1", "h2", "h3")]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    references = page.xpath("//@aria-labelledby") + page.xpath("//@href[starts-with(., '#')]")
    assert {reference.lstrip("#") for reference in references} <= set(ids)


def landmarks(page):
    """The names of the regions that a screen reader jumps to."""
    named = [page.get_element_by_id(one.get("aria-labelledby")) for one in page.iter("section")]
    return [one.text_content() for one in named] + page.xpath("//*[@role='region']/@aria-label")


def test_no_two_landmarks_of_a_page_have_the_same_name(tmp_path):
    twice = [dataclasses.replace(REACHED[0], item_id=item) for item in ("1", "2")]
    measured = CANDIDATE["overall"] | {"gini_at_20": 0.7}
    run = outcome(metrics={"candidate": CANDIDATE | {"overall": measured}})
    names = landmarks(write(tmp_path, run, reached=twice))
    assert {"Exposure", "Exposure by slice"} <= set(names)
    assert len(names) == len(set(names))


def test_override_is_seen_at_once_with_its_reason_and_what_was_refused(tmp_path):
    refused = tuple(dataclasses.replace(d, candidate=float("nan")) for d in decisions())
    run = outcome(blessed=False, override="the holiday week", decisions=refused)
    page = write(tmp_path, run)
    assert "Pushed version 1795453738, over a refusal" in banner(page)
    assert "Reason: the holiday week" in banner(page)
    assert refused[0].explain() in banner(page)
    assert "bad" in page.find_class("banner")[0].classes


def test_a_canary_and_a_withdrawn_model_are_called_so(tmp_path):
    assert "as the canary" in banner(write(tmp_path, outcome(label="canary")))
    page = write(tmp_path, outcome(version=None, withdrawn="it sold nothing"))
    assert "Refused" in banner(page) and "it sold nothing" in banner(page)


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ("", "Nothing has changed since the run that pushed version 1795453738"),
        (
            "1795453800",
            "Nothing has changed since the run that pushed version 1795453738, and version "
            "1795453800 came after it",
        ),
    ],
)
def test_a_repeated_run_claims_no_push(tmp_path, served, said):
    page = write(tmp_path, outcome(is_repeat=True, served=served))
    assert banner(page) == said
    assert "good" in page.find_class("banner")[0].classes
    [row] = table(html.parse(tmp_path / "index.html").getroot(), "Newest first")[1:]
    assert row[1] == said


def test_a_repeated_run_names_the_refusal_that_was_passed_over(tmp_path):
    run = outcome(is_repeat=True, blessed=False, override="the holiday week")
    page = write(tmp_path, run)
    assert banner(page).startswith("Nothing has changed since")
    assert "Reason: the holiday week" in banner(page)
    assert "bad" in page.find_class("banner")[0].classes


def test_gates_that_no_model_can_fail_are_named(tmp_path):
    few = SUMMARY.model_copy(update={"held_out_items": 12})
    said = "Only 12 items are held out as new, so cold_recall_at_20 is 1 for every model"
    assert f"{said} that knows them," in write(tmp_path, outcome(summary=few)).text_content()
    assert "for every model" not in write(tmp_path, outcome()).text_content()


def test_what_was_added_while_the_run_went_on_is_named_as_missing(tmp_path):
    page = write(tmp_path, outcome(left_out=(1795453700, 1795453710)))
    assert "1795453738 lacks" in banner(page) and "1795453700, 1795453710" in banner(page)
    assert "lacks" not in banner(write(tmp_path, outcome()))


@pytest.mark.parametrize(
    ("ratings", "said"),
    [
        (0.0, "no drift"),
        (0.05, "no drift"),
        (0.1, "notice"),
        (0.25, "alert"),
        (None, "ratings are not compared: of so few"),
    ],
)
def test_drift_is_shown_against_the_run_it_was_measured_from(tmp_path, ratings, said):
    found = Drift((FeatureDrift("price", "all", 0.125, 0.3),), ratings, "2026-11-01T00:00:00")
    page = write(tmp_path, outcome(drift=found))
    [section] = page.xpath("//section[@aria-labelledby='drift']")
    text = " ".join(section.text_content().split())
    assert "Against run 2026-11-01T00:00:00" in text and said in text
    assert table(page, "Jensen-Shannon")[1] == ["price", "all", "0.1250", "0.3"]


@pytest.mark.parametrize("index", [0.0, 0.5])
def test_drift_is_written_for_prometheus(tmp_path, index):
    found = Drift((FeatureDrift("price", "all", 0.125, 0.3),), index, "2026-11-01T00:00:00")
    file = write_drift_metrics(found, tmp_path, seconds=1_795_453_738)
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert values == {
        ("debut_feature_divergence", "price", "all"): 0.125,
        ("debut_rating_stability_index",): index,
        ("debut_drift_measured_seconds",): 1_795_453_738,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["drift.prom"]


def test_index_lists_all_runs_newest_first_with_their_verdicts(tmp_path):
    write(tmp_path, outcome(run_id="2026-11-24T09:00:00", blessed=False, version=None))
    write(tmp_path, outcome(run_id="2026-12-01T09:00:00"))
    write(tmp_path, outcome(run_id="2026-11-23T09:00:00"))
    index = html.parse(tmp_path / "index.html").getroot()
    rows = table(index, "Newest first")[1:]
    assert [row[0] for row in rows] == [
        "2026-12-01T09:00:00", "2026-11-24T09:00:00", "2026-11-23T09:00:00",
    ]  # fmt: skip
    assert [row[1].split()[0] for row in rows] == ["Pushed", "Refused:", "Pushed"]
    links = index.xpath("//td/a/@href | //th/a/@href")
    # A bare "2026-12-01T09:00:00.html" would not be a valid relative link.
    assert links[0] == "./2026-12-01T09%3A00%3A00.html"


def test_page_that_fails_to_be_written_leaves_the_one_before_it(tmp_path, monkeypatch):
    page = write_report(outcome(), CONFIG, REACHED, tmp_path)
    before = {file: file.read_text() for file in tmp_path.iterdir()}

    def full_disk(self, text, **options):
        self.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(outcome(version=None), CONFIG, REACHED, tmp_path)
    assert {file: file.read_text() for file in tmp_path.iterdir()} == before
    assert page in before


class Lists(tf.Module):
    """Answers `recommend` from fixed lists, in the signature of the served model."""

    def __init__(self, folder, lists):
        super().__init__()
        users = folder / "users.txt"
        users.write_text("".join(f"{user}\n" for user in lists))
        self.users = tf.saved_model.Asset(str(users))
        self.width = max(map(len, lists.values()))
        self.items = tf.ragged.constant(list(lists.values())).to_tensor("")
        self.rows = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self.users, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )  # fmt: skip

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user_id"),
            tf.TensorSpec([None, None], tf.string, "history"),
            tf.TensorSpec([None], tf.string, "profile"),
            tf.TensorSpec([], tf.int32, "k"),
            tf.TensorSpec([], tf.bool, "new_only"),
        ]
    )
    def recommend(self, user_id, history, profile, k, new_only):
        tf.debugging.assert_equal(new_only, True)
        items = tf.gather(self.items, self.rows.lookup(user_id))[:, :k]
        scores = tf.ones_like(user_id, tf.float32)[:, None] * tf.range(10.0, 10.0 - self.width, -1)
        return {"item_id": items, "score": scores[:, :k]}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user_id"),
            tf.TensorSpec([None, None], tf.string, "history"),
            tf.TensorSpec([None], tf.string, "profile"),
            tf.TensorSpec([None], tf.string, "item_id"),
        ]
    )
    def explain(self, user_id, history, profile, item_id):
        """History adds 4 of 8, b three times as much as c, and padding nothing; a word takes 1."""
        rows = tf.ones([tf.size(user_id), 1])
        words = tf.stack([item_id, *(tf.fill(tf.shape(item_id), w) for w in ("", "dull"))], axis=1)
        return {
            "score": rows[:, 0] * 8.0, "base": rows[:, 0] * 3.0, "evidence": rows[:, 0],
            "history_item": tf.tile([["c", "b", ""]], [tf.size(user_id), 1]),
            "history_score": rows * [[1.0, 3.0, 0.0]],
            "word": words, "word_score": rows * [[2.0, 0.0, -1.0]], "rest": rows[:, 0] * 3.0,
        }  # fmt: skip


@pytest.fixture
def shop(tmp_path):
    """A data folder in two spans and a function that saves a model with given lists."""
    for span, files in {
        "span-1": {
            "items": 'item_id,title,price\nn1,Old title,1\nn2,Second,\nb,"Bowl, blue",3\nc,Cup,4\n',
            "interactions": "user_id,item_id,timestamp\nu1,b,100\nu1,c,200\nu2,c,50\nu2,c,abc\n"
            "u2,gone,400\n",
        },
        "span-2": {
            "items": "item_id,title,price\nn1,New title,2.5\nn1,Doubled,9\nn2,Bad,cheap\n",
            "interactions": "user_id,item_id,timestamp\nu1,b,300\n",
        },
    }.items():
        (tmp_path / "data" / span).mkdir(parents=True)
        for name, text in files.items():
            with gzip.open(tmp_path / "data" / span / f"{name}.csv.gz", "wt") as file:
                file.write(text)

    def save(lists):
        module = Lists(tmp_path, lists)
        served = tmp_path / "model"
        signatures = {"recommend": module.recommend, "explain": module.explain}
        tf.saved_model.save(module, str(served), signatures=signatures)
        return served

    return open_folder(tmp_path / "data"), save


# Shares of the four that a history adds.
ITEMS = (Reason("Bowl, blue", 0.75), Reason("Cup", 0.25))


def words_of(item):
    """What speaks against an item is no reason for it."""
    return Reason(item, 0.5), Reason("(what no word adds)", 0.75)


def test_reached_products_come_with_titles_prices_and_latest_histories(shop):
    data, save = shop
    model = save({"u1": ["n1", "n2"], "u2": ["n1"]})
    first, second = new_products_reached(model, data, CONFIG.data.options())
    # The newest span's first row counts; a row that ingestion sets aside does not.
    assert first.sampled == second.sampled == 2
    assert (first.item_id, first.title, first.price) == ("n1", "New title", 2.5)
    assert (second.item_id, second.title, second.price) == ("n2", "Second", None)
    assert first.customers == (
        ReachedCustomer("u1", 1, 10.0, ("Bowl, blue", "Cup"), ITEMS, words_of("n1")),
        ReachedCustomer("u2", 1, 10.0, ("Cup",), ITEMS, words_of("n1")),
    )
    assert second.customers == (
        ReachedCustomer("u1", 2, 9.0, ("Bowl, blue", "Cup"), ITEMS, words_of("n2")),
    )


def test_an_item_without_a_title_is_named_by_its_id(shop):
    data, save = shop
    new = Path(data.path) / "span-3"
    new.mkdir()
    (new / "items.csv").write_text("item_id,title\nn1,\nc,  \n")
    (new / "interactions.csv").write_text("user_id,item_id,timestamp\nu2,c,500\n")
    model, data = save({"u1": ["n1"]}), open_folder(data.path)
    (product,) = new_products_reached(model, data, CONFIG.data.options())
    assert product.title == "n1"
    (customer,) = product.customers
    assert customer.history == ("Bowl, blue", "c")
    assert customer.items == (Reason("Bowl, blue", 0.75), Reason("c", 0.25))


@pytest.mark.parametrize(
    ("price", "said"),
    [(0.0, "0.00"), (0.0042, "0.0042"), (0.01, "0.01"), (24.9, "24.90"), (8298.3, "8,298.30")],
)
def test_a_price_below_a_cent_is_not_nothing(tmp_path, price, said):
    (product,) = write(tmp_path, reached=(NewProduct("7", "P", price, (), sampled=9),)).find_class(
        "product"
    )
    assert product.findtext("p") == f"Item 7 · price {said}"


def test_a_share_that_rounds_to_nothing_has_no_minus(tmp_path):
    words = (Reason("garden", 1.001), Reason("(what no word adds)", -0.001))
    customer = ReachedCustomer("17", 1, 0.0, ("CUP",), (Reason("CUP", 1.0),), words)
    page = write(tmp_path, reached=(NewProduct("7", "POT", None, (customer,), sampled=9),))
    (product,) = page.find_class("product")
    assert table(product, "In the lists of 1 of 9 sampled customers")[1:] == [
        ["1", "17", "0.00", "CUP", "100% CUP", "100% garden0% (what no word adds)"]
    ]


def test_reached_products_are_spread_over_customers(shop):
    data, save = shop
    model = save({"u1": ["n1", "n2"], "u2": ["n1", "n2"], "u3": ["n1", "n2"], "u4": ["x"]})
    # n2 is in more lists than x, yet only in such as n1 is in.
    picked = new_products_reached(model, data, CONFIG.data.options(), count=2)
    assert [product.item_id for product in picked] == ["n1", "x"]
    assert picked[1].title == "x" and picked[1].price is None


def test_no_new_product_is_no_error(shop, tmp_path):
    data, save = shop
    assert new_products_reached(save({"u1": [""]}), data, CONFIG.data.options()) == []
    page = write(tmp_path / "report", reached=())
    assert "No new product is" in page.text_content()


def test_pseudonyms_of_the_model_find_their_histories(shop, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "secret")
    pseudonym = hmac.new(b"secret", b"u2", hashlib.sha256).hexdigest()
    options = load_configuration(settings=["data.pseudonym_key=SHOP_KEY"]).data.options()
    data, save = shop
    (product,) = new_products_reached(save({pseudonym: ["n1"]}), data, options)
    assert product.customers == (
        ReachedCustomer(pseudonym, 1, 10.0, ("Cup",), ITEMS, words_of("n1")),
    )
