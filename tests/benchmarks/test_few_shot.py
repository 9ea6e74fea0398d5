"""First and later interactions of new items: what is given is never asked again."""

import numpy as np

from benchmarks.cold_split import Event
from benchmarks.few_shot import LATER, first_interactions


def shop():
    """Items of 1 to 12 interactions by users who come again, in no order."""
    random = np.random.default_rng(1)
    events = [
        Event(f"u{random.integers(8)}", f"i{size}", 1.0, int(random.integers(10_000)))
        for size in range(1, 13)
        for _ in range(size)
    ]
    random.shuffle(events)
    return [Event(user, item, 1.0, int(time)) for user, item, _, time in events]


def test_the_first_ones_are_given_and_what_their_users_did_is_not_asked_again():
    events = shop()
    given = first_interactions(events, 2)
    for size in range(1, 13):
        of_item = sorted(
            (event for event in events if event.item == f"i{size}"),
            key=lambda event: (event.timestamp, event.user),
        )
        first = [event for event in given.first if event.item == f"i{size}"]
        later = [event for event in given.later if event.item == f"i{size}"]
        assert first == (of_item[:2] if size >= 2 + LATER else [])
        known = {event.user for event in of_item[:2]}
        asked = [event for event in of_item[2:] if event.user not in known]
        assert later == (asked if size >= 2 + LATER else [])
