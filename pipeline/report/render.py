"""Writes the report of a run, and the index of all reports in its folder.

A page is complete or not there: it is written under another name and renamed. It loads nothing,
and its own content security policy keeps it so, whatever the shop's titles hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.whole_folders import write_at_once
from models.curves import RECALL
from models.metrics import SQUARED_ERROR
from models.record import MeasuredPoint, TrainingRecord
from pipeline.config import Configuration
from pipeline.evaluation import (
    EVEN_METRICS,
    EXPOSURE_METRICS,
    GROUP_SLICES,
    HEADLINE_METRICS,
    LOWER_IS_BETTER,
    SLICES,
    evaluation_metrics,
    span_slice,
)
from pipeline.outcome import Outcome
from pipeline.report.plots import curve_svg
from pipeline.report.reached import NewProduct
from serving.version_labels import CANARY

INDEX: Final = "index.html"
_VERDICT: Final = "debut-verdict"  # name of the `meta` element that the index reads
_ORDER: Final = tuple(evaluation_metrics())
_CURVES: Final = (
    ("Squared error of ratings on the eval split", ("squared_error",)),
    ("Profile loss of the training batch", ("profile_loss",)),
    ("Rating loss of the training batch", ("rating_loss",)),
)


class Verdict(NamedTuple):
    """What became of the candidate, and why."""

    pushed: bool
    headline: str
    reasons: tuple[str, ...]


class Comparison(NamedTuple):
    """A metric in a slice; None where it was not measured."""

    metric: str
    slice: str
    candidate: float | None
    baseline: float | None

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline."""
        if self.candidate is None or self.baseline is None:
            return None
        return self.candidate - self.baseline

    @property
    def judgement(self) -> str:
        """Whether the candidate is better, worse, or neither."""
        if not self.difference or self.metric not in _ORDER:
            return ""
        return "better" if (self.difference < 0) == (self.metric in LOWER_IS_BETTER) else "worse"


class MetricTable(NamedTuple):
    """Metrics in slices.

    Attributes:
        corner: what the rows are.
        columns: their names.
        rows: by name, of each column a cell; None where nobody asks for it.
    """

    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Comparison | None]]


@dataclass(frozen=True)
class Measured:
    """A table of measured points and their drawings.

    Attributes:
        title: of the table.
        along: what the points are numbered by.
        points: in their order.
        series: values that are drawn together, by the name of the drawing.
        is_logarithmic: the drawings' axis.
    """

    title: str
    along: str
    points: Sequence[MeasuredPoint]
    series: Mapping[str, Sequence[str]]
    is_logarithmic: bool

    @property
    def names(self) -> list[str]:
        """The values' names, in order."""
        return list(dict.fromkeys(name for point in self.points for name in point.values))

    @property
    def plots(self) -> list[Markup]:
        """The drawings that have something to show."""
        curve = [(point.at, point.values) for point in self.points]
        drawn = [
            curve_svg(
                curve, names, plot=plot, alt=f"{self.title}: {', '.join(names)}.",
                along=self.along, is_logarithmic=self.is_logarithmic,
            )
            for plot, names in self.series.items()
        ]  # fmt: skip
        return [plot for plot in drawn if plot]


def write_report(
    outcome: Outcome, config: Configuration, reached: Sequence[NewProduct], folder: Path
) -> Path:
    """Write `<folder>/<run id>.html` and list it in `<folder>/index.html`.

    Args:
        outcome: of the run.
        config: of the run.
        reached: some new products with the customers whose lists they are in.
        folder: made where it is missing.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{outcome.run_id}.html"
    write_at_once(report, _page(outcome, config, reached))
    # Run ids begin with the time, so their order is that of the runs.
    pages = sorted((page for page in folder.glob("*.html") if page.name != INDEX), reverse=True)
    rows = [(page.name, page.stem, _read_verdict(page)) for page in pages]
    write_at_once(folder / INDEX, _environment().get_template("index.html.j2").render(rows=rows))
    return report


def verdict(outcome: Outcome) -> Verdict:
    """Whether the candidate was pushed, and else which gate refused it, with the values."""
    reasons = []
    if not outcome.blessed:
        refusing = [
            f"{decision.explain()}." for decision in outcome.decisions if not decision.passed
        ]
        reasons += refusing or ["Evaluator refused the model, though it keeps the gates below."]
    if outcome.withdrawn:
        reasons.append(f"A rollback took this model out of service: {outcome.withdrawn}")
    if outcome.version is not None:
        place = " as the canary" if outcome.label == CANARY else ""
        headline = f"Pushed version {outcome.version.name}{place}"
        if not outcome.override:
            return Verdict(True, headline, ())
        return Verdict(
            True, f"{headline}, over a refusal", (f"Reason: {outcome.override}", *reasons)
        )
    if not outcome.infra_blessed:
        reasons.append("InfraValidator refused the model: a server with it did not answer.")
    if not reasons:
        return Verdict(False, "Not pushed", ("Every gate passed, but nothing was pushed.",))
    return Verdict(False, "Refused: nothing was pushed", tuple(reasons))


def _page(outcome: Outcome, config: Configuration, reached: Sequence[NewProduct]) -> str:
    training = outcome.training
    every_metric = sorted(
        {metric for values in outcome.metrics["candidate"].values() for metric in values},
        key=_place,
    )
    plots = [
        curve_svg(
            [(point.step, point.values) for point in training.curve], names, plot=names[0],
            alt=f"{title}, by step. Step {training.kept_step} was kept.", along="step",
            kept=training.kept_step,
        )
        for title, names in _CURVES
    ]  # fmt: skip
    return _environment().get_template("report.html.j2").render(
        outcome=outcome,
        summary=outcome.summary,
        training=training,
        verdict=verdict(outcome),
        verdict_name=_VERDICT,
        has_baseline="baseline" in outcome.metrics,
        main_metrics=_rows_of_metrics(
            # In the other slices the true item is not among the cold ones.
            cell
            for cell in _comparisons(outcome, HEADLINE_METRICS)
            if cell.slice == "new" or not cell.metric.startswith("cold_")
        ),
        all_metrics=_rows_of_metrics(_comparisons(outcome, every_metric)),
        span_metrics=_rows_of_slices(_by_span(outcome)),
        group_metrics=_rows_of_slices(_by_group(outcome)),
        exposure_metrics=_rows_of_metrics(_exposure(outcome)),
        even_metrics=_rows_of_metrics(_even(outcome)),
        exposure_curve=_exposure_curve(training),
        plots=[plot for plot in plots if plot],
        curve_names=list(dict.fromkeys(n for point in training.curve for n in point.values)),
        more_data=[measured for measured in _more_data(training) if measured.points],
        reached=reached,
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )  # fmt: skip


def _more_data(training: TrainingRecord) -> list[Measured]:
    """What simulated new items gain from more data."""
    first, share = training.first_interactions, training.labelled_share
    return [
        Measured(
            "Recall at 20 by first interactions", "first interactions", first,
            {"first-interactions": (RECALL,)}, is_logarithmic=False,
        ),
        Measured(
            "By share of the interactions", "per cent of the interactions", share,
            {f"share-{kind}": _of_kind(share, kind) for kind in (RECALL, SQUARED_ERROR)},
            is_logarithmic=True,
        ),
    ]  # fmt: skip


def _of_kind(points: Sequence[MeasuredPoint], kind: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for point in points for name in point.values)
    return tuple(name for name in names if name.startswith(kind))


def _by_span(outcome: Outcome) -> list[Comparison]:
    """What was forgotten and gained in each span, nothing where there is only one."""
    spans = outcome.summary.spans
    if len(spans) < 2:
        return []
    every = [span_slice(span, is_new=False) for span in spans]
    new = [span_slice(span, is_new=True) for span in spans]
    return _each_in(
        outcome,
        {
            "recall_at_20": every,
            "cold_recall_at_20": new,
            SQUARED_ERROR: every,
            "example_count": every,
        },
    )


def _by_group(outcome: Outcome) -> list[Comparison]:
    """The same question asked for each group; of new items among new ones."""
    seen, new = (
        [name for name in GROUP_SLICES if name.startswith(state)] for state in ("seen", "new")
    )
    return _each_in(
        outcome,
        {"recall_at_20": seen, "cold_recall_at_20": new, "example_count": [*seen, *new]},
    )


def _exposure(outcome: Outcome) -> list[Comparison]:
    return _measured(
        outcome,
        {
            metric: ["new"] if cold else ["overall"]
            for metric, (_, cold) in EXPOSURE_METRICS.items()
        },
    )


def _even(outcome: Outcome) -> list[Comparison]:
    """The plain recall beside its estimates, of items that sell and of new ones among new ones."""
    slices = {metric: ["new"] if cold else ["seen"] for metric, (_, cold) in EVEN_METRICS.items()}
    plain = {"recall_at_20": ["seen"], "cold_recall_at_20": ["new"]}
    found = _measured(outcome, slices)
    return _measured(outcome, plain) + found if found else []


def _measured(outcome: Outcome, slices: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Those of metrics in some slices that were measured."""
    return [cell for cell in _each_in(outcome, slices) if cell.candidate is not None]


def _each_in(outcome: Outcome, slices: Mapping[str, Sequence[str]]) -> list[Comparison]:
    """Metrics, each in slices of its own."""
    return [
        cell for metric, names in slices.items() for cell in _comparisons(outcome, [metric], names)
    ]


def _rows_of_metrics(cells: Iterable[Comparison]) -> MetricTable:
    """A table with a row for each metric and a column for each slice."""
    return _table("Metric", {(cell.metric, cell.slice): cell for cell in cells})


def _rows_of_slices(cells: Iterable[Comparison]) -> MetricTable:
    """The same on its side, for many slices."""
    return _table("Slice", {(cell.slice, cell.metric): cell for cell in cells})


def _table(corner: str, cells: Mapping[tuple[str, str], Comparison]) -> MetricTable:
    rows = dict.fromkeys(row for row, _ in cells)
    columns = list(dict.fromkeys(column for _, column in cells))
    return MetricTable(
        corner, columns, {row: [cells.get((row, column)) for column in columns] for row in rows}
    )


def _exposure_curve(training: TrainingRecord) -> Measured:
    """What more even exposure of new items costs."""
    return Measured(
        "Even exposure against recall at 20", "strength, hundredths of a logit", training.exposure,
        {"exposure-curve": ("recall", "gini", "coverage")}, is_logarithmic=False,
    )  # fmt: skip


def _comparisons(
    outcome: Outcome, metrics: Sequence[str], slices: Iterable[str] = SLICES
) -> list[Comparison]:
    def value(model: str, name: str, metric: str) -> float | None:
        found = outcome.metrics.get(model, {}).get(name, {}).get(metric)
        return None if found is None or math.isnan(found) else found

    known = [name for name in slices if name in outcome.metrics["candidate"]]
    return [
        Comparison(metric, name, value("candidate", name, metric), value("baseline", name, metric))
        for metric in metrics
        for name in known
    ]


def _place(metric: str) -> tuple[int, str]:
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "count": _count, "seconds": _seconds}
    return environment


def _number(value: float | None, style: str = ".4f") -> str:
    """Four digits, or a dash for what was not measured."""
    if value is None or math.isnan(value):
        return "–"
    return format(value, style)


def _count(value: int) -> str:
    return f"{value:,}"


def _seconds(value: float) -> str:
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{value:.1f} s"


class _VerdictReader(HTMLParser):
    verdict = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "meta" and found.get("name") == _VERDICT:
            self.verdict = found.get("content") or ""


def _read_verdict(page: Path) -> str:
    reader = _VerdictReader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader.verdict
