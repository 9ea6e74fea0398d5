"""What speaks most for an item, out of what its score is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST: Final = 3  # reasons of each kind


def strongest(parts: Iterable[tuple[str, float]], total: float) -> list[tuple[str, float]]:
    """The parts that add most to a score, each with its share of what all add; the strongest first.

    What speaks against an item is no reason for it. Where the parts together add nothing, the item
    is in the list for other reasons.

    Args:
        parts: items of the history, or words, with what each adds.
        total: what all of them and the rest add.
    """
    if total <= 0:
        return []
    best = sorted(parts, key=lambda part: -part[1])[:MOST]
    return [(text, score / total) for text, score in best if score > 0]
