"""Values that were measured along something, as a table of the report and drawings of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from models.curves import RECALL
from models.record import SQUARED_ERROR, MeasuredPoint, TrainingRecord
from pipeline.report.plots import curve_figure


@dataclass(frozen=True)
class Measured:
    """A table of measured points and their drawings.

    Attributes:
        title: of the table and of the drawings.
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
            curve_figure(
                curve, names, plot=plot, title=self.title, along=self.along, from_zero=True,
                is_logarithmic=self.is_logarithmic,
            )
            for plot, names in self.series.items()
        ]  # fmt: skip
        return [plot for plot in drawn if plot]


def more_data(training: TrainingRecord) -> list[Measured]:
    """What simulated new items gain from more data."""
    first, share = training.first_interactions, training.labelled_share
    return [
        Measured(
            "Recall at 20 by first interactions", "first interactions", first,
            {"first-interactions": (RECALL,)}, is_logarithmic=False,
        ),
        Measured(
            "Quality by share of the interactions", "per cent of the interactions", share,
            {f"share-{kind}": _of_kind(share, kind) for kind in (RECALL, SQUARED_ERROR)},
            is_logarithmic=True,
        ),
    ]  # fmt: skip


def _of_kind(points: Sequence[MeasuredPoint], kind: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for point in points for name in point.values)
    return tuple(name for name in names if name.startswith(kind))


def exposure_curve(training: TrainingRecord) -> Measured:
    """What more even exposure of new items costs."""
    return Measured(
        "Even exposure against recall at 20", "strength, hundredths of a logit", training.exposure,
        {"exposure-curve": ("recall", "gini", "coverage")}, is_logarithmic=False,
    )  # fmt: skip
