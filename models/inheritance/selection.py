"""What differs between shops is found out from the shop's own data, by simulated launches.

Hill climbing along a small grid, one setting after the other: each step is measured as recall on
items that are hidden everywhere. What is found on the way up is only taken if it gains more than
one standard error, for what a few launches tell of settings that are nearly as good is chance
(Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from models.arrays import Doubles
from models.inheritance.alignment import Alignment
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings, compare
from models.inheritance.simulation import SimulatedLaunch
from models.ranking import PLACES, ranking_quality, standard_error
from models.sampling import at_most

START: Final = KernelSettings(ridge=1.0, order=1.0, side=0.02)
_GRID: Final[dict[str, tuple[float, ...]]] = {
    "ridge": (0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "order": (0.0, 1.0, 2.0),
    "side": (0.0, 0.02, 0.06),
}
# The ridge again at the end, because the best one depends on the kernel.
_TURNS: Final = ("ridge", "order", "side", "ridge")
_USERS: Final = 1500

Recalls = Doubles
Report = Callable[[KernelSettings, float], None]


def select_kernel(
    view: ItemView, launches: Sequence[SimulatedLaunch], report: Report
) -> KernelSettings:
    """The settings with the best mean recall over the launches, as far as these can tell.

    Args:
        view: the catalogue.
        launches: simulated ones; without any that has users the start is kept.
        report: is told every measurement.
    """
    launches = [launch for launch in launches if len(launch.users)]
    if not launches:
        return START
    samples = [_Sample(launch, view) for launch in launches]
    measured: dict[KernelSettings, list[Recalls]] = {}

    def recalls(settings: KernelSettings) -> list[Recalls]:
        if settings not in measured:
            kernel = ItemKernel(view, settings)
            measured[settings] = [sample.recalls(kernel, settings.ridge) for sample in samples]
            report(settings, _mean(measured[settings]))
        return measured[settings]

    best = START
    for name in _TURNS:
        best = _climb(best, name, recalls)
    return best


def keep_kernel(
    kept: KernelSettings, view: ItemView, launches: Sequence[SimulatedLaunch], report: Report
) -> KernelSettings:
    """Settings chosen before, unless those that a choice starts from have become better.

    One comparison in place of a search; where it goes against the old choice, the search is made.

    Args:
        kept: chosen before.
        view: the catalogue.
        launches: simulated ones of now; without any that has users the old choice stays.
        report: is told every measurement.
    """
    launches = [launch for launch in launches if len(launch.users)]
    found: dict[KernelSettings, list[Recalls]] = {kept: [], START: []}
    for launch in launches:
        sample = _Sample(launch, view)
        for settings, recalls in found.items():
            recalls.append(sample.recalls(ItemKernel(view, settings), settings.ridge))
    if not launches:
        return kept
    for settings, recalls in found.items():
        report(settings, _mean(recalls))
    if not is_better(found[START], found[kept]):
        return kept
    return select_kernel(view, launches, report)


def _climb(
    best: KernelSettings, name: str, recalls: Callable[[KernelSettings], list[Recalls]]
) -> KernelSettings:
    """Go up along one setting's grid in both directions; what is found there must be better by far.

    Not each step: the grid is finer than what launches can tell apart.
    """
    grid = _GRID[name]
    for step in (1, -1):
        peak, place = best, grid.index(getattr(best, name)) + step
        while 0 <= place < len(grid):
            tried = best._replace(**{name: grid[place]})
            if _mean(recalls(tried)) <= _mean(recalls(peak)):
                break
            peak, place = tried, place + step
        if is_better(recalls(peak), recalls(best)):
            best = peak
    return best


def is_better(one: Sequence[Recalls], other: Sequence[Recalls]) -> bool:
    """Whether the mean over the launches is higher by more than its standard error."""
    gains = [own - others for own, others in zip(one, other, strict=True)]
    return _mean(gains) > standard_error(gains)


def _mean(launches: Sequence[Recalls]) -> float:
    return float(np.mean([users.mean() for users in launches]))


class _Sample:
    """Some users of a launch with their scores of its anchors, and its items, compared once."""

    def __init__(self, launch: SimulatedLaunch, view: ItemView) -> None:
        users = at_most(launch.users, _USERS)
        anchors = view.rows(launch.anchors)
        self._among = compare(anchors, anchors)
        self._towards = compare(anchors, view.rows(launch.targets))
        self._history = launch.history
        self._scores = launch.history[users] @ launch.teacher
        self._wanted = launch.wanted[users].toarray()

    def recalls(self, kernel: ItemKernel, ridge: float) -> Recalls:
        """Of each user: float64 [B]."""
        alignment = Alignment(kernel.of(self._among), self._history, ridge=ridge, refine=False)
        scores = self._scores @ alignment(kernel.of(self._towards))
        recall, _ = ranking_quality(scores, self._wanted, PLACES)
        return recall
