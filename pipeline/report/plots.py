"""The curves of the report, as inline SVG that takes its colours and its font from the page.

Matplotlib writes a whole XML document with fixed colours and with ids that repeat from figure to
figure. What is made of it here can stand in an HTML page, next to another one, in light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from models.metrics import Bin

# Stand-ins that no style uses otherwise, for the variables of the page's style sheet.
_COLORS: Final = {
    "#010203": "var(--text)",
    "#010204": "var(--muted)",
    "#010205": "var(--line)",
    "#010206": "var(--series-1)",
    "#010207": "var(--series-2)",
    "#010208": "var(--series-3)",
}
_TEXT, _MUTED, _LINE, *_SERIES = _COLORS
# Series differ in more than colour.
_DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MARKERS: Final = ("o", "s", "^")
_STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "debut",  # ids, and so the page, are the same each time
    "font.size": 11,
    "text.color": _TEXT,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
}


def curve_figure(
    curve: Sequence[tuple[int, Mapping[str, float]]],
    names: Sequence[str],
    *,
    plot: str,
    title: str,
    along: str,
    kept: int | None = None,
    from_zero: bool = False,
    is_logarithmic: bool = False,
) -> Markup:
    """Draw values along an axis, under a title.

    Args:
        curve: places on the axis with what was measured there.
        names: one to three of the values. "recall, words alone" is the series "words alone" where
            the other names begin with "recall" too.
        plot: prefix of the ids in the drawing, unique in the page.
        title: for all; those who don't see the drawing are told its axes with it.
        along: what the axis counts.
        kept: the place of the model that was kept, which is marked.
        from_zero: where the values' axis begins, so that a small gain looks small; else it shows
            the values alone.
        is_logarithmic: the axis, which then has a tick at each place.

    Returns:
        A `figure` element; empty where no place has any of the values.
    """
    series = [
        (name, [(place, values[name]) for place, values in curve if name in values])
        for name in names
    ]
    if not any(points for _, points in series):
        return Markup()
    measure = _measure(names)
    with _drawing() as (figure, axes):
        _draw_series(axes, series)
        if kept is not None:
            axes.axvline(
                kept, color=_TEXT, linewidth=1.2, linestyle=":", label=f"kept: {along} {kept}"
            )
        axes.set_xlabel(along)
        axes.set_ylabel(measure)
        if from_zero:
            axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        if is_logarithmic:
            _mark_places(axes, [place for place, _ in curve])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        marked = "" if kept is None else f" {along.capitalize()} {kept} was kept."
        return _shown(figure, axes, plot=plot, title=title, alt=f"{measure} by {along}.{marked}")


def calibration_figure(found: Mapping[str, Sequence[Bin]], *, plot: str, title: str) -> Markup:
    """Draw what was given where about the same rating was predicted, beside what would be right.

    Args:
        found: one or two slices with their ratings.
        plot: prefix of the ids in the drawing, unique in the page.
        title: as of `curve_figure`.

    Returns:
        A `figure` element; empty where nothing was rated.
    """
    series = [(name, [(part.rated, part.given) for part in parts]) for name, parts in found.items()]
    if not any(points for _, points in series):
        return Markup()
    with _drawing() as (figure, axes):
        _draw_series(axes, series)
        axes.axline((0, 0), slope=1, color=_TEXT, linewidth=1.2, linestyle=":", label="right")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("predicted")
        axes.set_ylabel("given")
        return _shown(figure, axes, plot=plot, title=title, alt="given by predicted.")


@contextmanager
def _drawing() -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 2.9), layout="constrained")
        yield figure, figure.subplots()


def _shown(figure: Figure, axes: Axes, *, plot: str, title: str, alt: str) -> Markup:
    """What is drawn as a `figure` element; `alt` is told to those who don't see it."""
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, columnspacing=1.4)
    document = io.StringIO()
    figure.savefig(
        document, format="svg", transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )  # fmt: skip
    svg = _inline(document.getvalue(), plot=plot, alt=f"{title}: {alt}")
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(title, svg)


def _measure(names: Sequence[str]) -> str:
    """What values measure that differ only behind a comma."""
    measures = {name.partition(", ")[0] for name in names}
    return measures.pop().replace("_", " ") if len(measures) == 1 else "value"


def _draw_series(axes: Axes, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
    styles = zip(_SERIES, _DASHES, _MARKERS, strict=True)
    for (name, points), (color, dash, marker) in zip(series, styles, strict=False):
        axes.plot(
            [place for place, _ in points], [value for _, value in points], color=color,
            linestyle=dash, marker=marker, markersize=4, linewidth=2,
            # The whole name of a series does not fit beside another one.
            label=name.rpartition(", ")[2].replace("_", " "),
        )  # fmt: skip


def _mark_places(axes: Axes, places: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_locator(NullLocator())


def _inline(document: str, *, plot: str, alt: str) -> Markup:
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot}-", svg)
    for stand_in, variable in _COLORS.items():
        svg = svg.replace(stand_in, variable)
    label = f'<svg role="img" aria-label="{escape(alt)}" class="plot"'
    return Markup(svg.replace("<svg", label, 1))
