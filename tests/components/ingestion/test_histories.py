from components.ingestion.histories import histories
from components.ingestion.splits import Event


def items_before(*events, length=10):
    """Events are (timestamp, item) or (timestamp, item, "new")."""
    made = sorted(Event(t, item, 1.0, bool(new), 0) for t, item, *new in events)
    return ["".join(item for item, _ in history) for history in histories(made, length)]


def test_only_strictly_earlier_items_oldest_first():
    assert items_before((1, "a"), (2, "b"), (2, "c"), (3, "d")) == ["", "a", "a", "abc"]


def test_item_stands_once_at_its_latest_occurrence():
    assert items_before((1, "a"), (2, "b"), (3, "a"), (4, "c")) == ["", "a", "b", "ba"]


def test_item_is_never_in_its_own_history_and_leaves_no_gap_at_the_cut():
    events = [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "d")]
    assert items_before(*events, length=2) == ["", "a", "ab", "ab", "bc"]


def test_most_recent_items_are_kept():
    events = [(t, chr(ord("a") + t)) for t in range(5)]
    assert items_before(*events, length=2)[-1] == "cd"
    assert items_before(*events, length=1)[-1] == "d"


def test_items_held_out_as_new_are_in_nobodys_history():
    assert items_before((1, "a"), (2, "n", "new"), (3, "b")) == ["", "a", "a"]


def test_ratings_go_with_the_latest_occurrence():
    events = [
        Event(1, "a", 0.1, False, 0),
        Event(2, "a", 0.9, False, 0),
        Event(3, "b", 0.5, False, 0),
    ]
    assert histories(events, 5)[2] == [("a", 0.9)]
