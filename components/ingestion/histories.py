"""The earlier items of an interaction. Only what lies strictly before it is looked at.

Items held out as if new are in nobody's history: a model that had seen them there, as text, would
no longer meet them for the first time in the new-item split.
"""

from collections.abc import Sequence
from itertools import groupby, islice
from operator import attrgetter

from components.ingestion.splits import Event

History = list[tuple[str, float]]


def histories(events: Sequence[Event], length: int) -> list[History]:
    """Returns for each of a user's events its earlier items with their ratings, oldest first.

    Events at the same second are not earlier. An item stands once, at its latest occurrence, and
    never in its own history.

    Args:
      events: all events of one user, sorted.
      length: items to keep, the most recent ones.
    """
    earlier: dict[str, float] = {}  # in the order of the latest occurrences
    result: list[History] = []
    for _, simultaneous in groupby(events, key=attrgetter("timestamp")):
        now = list(simultaneous)
        recent = list(islice(reversed(earlier.items()), length + 1))[::-1]
        for event in now:
            others = recent
            if event.item in earlier:
                others = [entry for entry in recent if entry[0] != event.item]
            result.append(others[-length:])
        for event in now:
            if not event.is_held_out:
                earlier.pop(event.item, None)
                earlier[event.item] = event.rating
    return result
