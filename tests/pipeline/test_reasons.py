"""Which parts of a score are told as the reasons for an item."""

from pipeline.reasons import strongest


def test_the_three_parts_that_add_most_come_first_with_their_shares():
    parts = [("a", 1.0), ("b", 4.0), ("c", 2.0), ("d", 0.5)]
    assert strongest(parts, 8.0) == [("b", 0.5), ("c", 0.25), ("a", 0.125)]


def test_what_speaks_against_an_item_or_adds_nothing_is_no_reason_for_it():
    assert strongest([("for", 3.0), ("against", -1.0), ("padding", 0.0)], 2.0) == [("for", 1.5)]


def test_parts_that_add_nothing_together_are_no_reasons():
    assert strongest([("for", 1.0), ("against", -1.0)], 0.0) == []
    assert strongest([("for", 1.0), ("against", -2.0)], -1.0) == []
