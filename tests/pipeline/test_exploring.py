"""What `debut explore` says of what it did."""

from components.exploration.update import Explored
from pipeline.commands.explore import _told


def said(**values):
    done = Explored(
        lists=3, strangers=0, places=3, rewards=1, bad_lines=0, items=2, spent=0, judgement=None,
        is_overridden=False,
    )  # fmt: skip
    return " ".join(_told(done._replace(**values), policy="thompson", key="SHOP_KEY"))


def test_a_log_of_whose_users_the_model_knows_none_may_have_another_key():
    hint = "SHOP_KEY is not the key that the log was written with"
    assert hint in said(strangers=3)
    assert hint not in said(strangers=2)
    assert hint not in said(lists=0)


def test_how_many_items_are_explored_no_longer_is_told_apart_from_their_budgets():
    assert said(items=2, spent=0).endswith("2 items are explored, 0 have spent their budget.")
    assert said(items=1, spent=1).endswith("1 item is explored, 1 has spent its budget.")
