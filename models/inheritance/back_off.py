"""Items of few words inherit from their category: what is sold there lends them its mean score.

A text that says next to nothing is like nothing that is sold, or like everything. A known category
tree says more. Which items back off, and where they stand in the tree, `models.rules` says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.inheritance.aligner import Aligned
from models.rules import NO_GROUP

Codes = npt.NDArray[np.int64]


class BackOff:
    """The anchors by the categories that they stand in, or below."""

    def __init__(self, anchors: Codes, log_popularity: Floats) -> None:
        """Take A anchors in.

        Args:
            anchors: int64 [A, L], of `models.rules.Ruled.level`.
            log_popularity: float32 [A].
        """
        self._log_popularity = log_popularity
        found: dict[int, list[int]] = defaultdict(list)
        for place in np.argsort(-log_popularity, kind="stable"):
            for code in set(anchors[place].tolist()) - {NO_GROUP}:
                found[code].append(int(place))
        self._members = {code: np.array(places) for code, places in found.items()}

    def __call__(self, aligned: Aligned, levels: Codes, least: npt.NDArray[np.int32]) -> Aligned:
        """Alignments with those of items that back off replaced.

        Such an item gets equal weights for the most popular anchors of the nearest category in
        which enough are sold, as many as an alignment holds. Where there is none, it keeps its own.

        Args:
            aligned: T items.
            levels: int64 [T, L], of these.
            least: int32 [T], of `models.rules.Ruled.backs_off`.
        """
        anchor, weight = aligned.anchor.copy(), aligned.weight.copy()
        log_popularity = aligned.log_popularity.copy()
        for row in np.flatnonzero(least):
            members = self._nearest(levels[row].tolist(), least[row])
            if members is None:
                continue
            members = members[: anchor.shape[1]]
            anchor[row], weight[row] = 0, 0.0
            anchor[row, : len(members)], weight[row, : len(members)] = members, 1 / len(members)
            log_popularity[row] = self._log_popularity[members].mean()
        return aligned._replace(anchor=anchor, weight=weight, log_popularity=log_popularity)

    def _nearest(self, levels: Iterable[int], least: int) -> npt.NDArray[np.int64] | None:
        found = (self._members[code] for code in levels if code in self._members)
        return next((members for members in found if len(members) >= least), None)
