"""Writes the report of a run, and the index of all reports in its folder.

A page is complete or not there: it is written under another name and renamed. It loads nothing,
and its own content security policy keeps it so, whatever the shop's titles hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.metrics import calibration_error
from models.record import SQUARED_ERROR, measured_on
from pipeline.config import Configuration
from pipeline.outcome import Outcome
from pipeline.report.measured import exposure_curve, more_data
from pipeline.report.plots import calibration_figure, curve_figure
from pipeline.report.reached import LIST_LENGTH, NewProduct
from pipeline.report.tables import (
    all_metrics,
    even_metrics,
    exposure_metrics,
    group_metrics,
    headline_metrics,
    span_metrics,
)
from pipeline.verdict import verdict
from serving.on_disk import write_at_once

INDEX: Final = "index.html"
_VERDICT: Final = "debut-verdict"  # name of the `meta` element that the index reads
_CURVES: Final = (
    ("Squared error of ratings on the eval split", (SQUARED_ERROR,)),
    ("Profile loss of the training batch", ("profile_loss",)),
    ("Rating loss of the training batch", ("rating_loss",)),
)


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


def _page(outcome: Outcome, config: Configuration, reached: Sequence[NewProduct]) -> str:
    training = outcome.training
    plots = [
        curve_figure(
            [(point.step, point.values) for point in training.curve], names, plot=names[0],
            title=title, along="step", kept=training.kept_step,
        )
        for title, names in _CURVES
    ]  # fmt: skip
    calibration = {
        name: found for name in ("seen", "new") if (found := outcome.calibration.get(name))
    }
    return _environment().get_template("report.html.j2").render(
        outcome=outcome,
        summary=outcome.summary,
        training=training,
        measured_on=measured_on,
        verdict=verdict(outcome),
        verdict_name=_VERDICT,
        has_baseline="baseline" in outcome.metrics,
        main_metrics=headline_metrics(outcome),
        all_metrics=all_metrics(outcome),
        calibration=calibration,
        calibration_error=calibration_error,
        calibration_plot=calibration_figure(
            calibration, plot="calibration", title="Ratings that were predicted and given"
        ),
        span_metrics=span_metrics(outcome),
        group_metrics=group_metrics(outcome),
        exposure_metrics=exposure_metrics(outcome),
        even_metrics=even_metrics(outcome),
        exposure_curve=exposure_curve(training),
        plots=[plot for plot in plots if plot],
        curve_names=list(dict.fromkeys(n for point in training.curve for n in point.values)),
        more_data=[measured for measured in more_data(training) if measured.points],
        reached=reached,
        list_length=LIST_LENGTH,
        config=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number, "count": _count, "price": _price, "share": _share,
        "seconds": _seconds,
    }  # fmt: skip
    return environment


def _number(value: float | None, style: str = ".4f") -> str:
    """Four digits, or a dash for what was not measured."""
    if value is None or math.isnan(value):
        return "–"
    return format(value, style)


def _price(value: float) -> str:
    """Two digits, of a fraction of a cent its first two: a screw is not free."""
    return f"{value:.2g}" if 0 < value < 0.01 else f"{value:,.2f}"


def _share(value: float) -> str:
    """In whole per cent; what rounds to 0 has no minus."""
    return f"{round(100 * value)}%"


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
    # A page that somebody put there may be in another encoding.
    reader.feed(page.read_text(encoding="utf-8", errors="replace"))
    return reader.verdict
