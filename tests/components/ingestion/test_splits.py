import hashlib

from components.ingestion.splits import Event, draw, is_held_out, split_events
from tests.components.ingestion.helpers import data_options


def events(count, held_out=()):
    return [Event(10 * i, f"i{i}", 1.0, i in held_out, 0) for i in range(count)]


def split(count, held_out=(), **overrides):
    options = data_options(**{"eval_user_share": 1.0, "eval_tail_share": 0.2} | overrides)
    return "".join(s[0] for s in split_events(options, "u", events(count, held_out)))


def test_draw_is_the_first_32_bits_of_sha256():
    digits = hashlib.sha256(b"salt:item:42").hexdigest()[:8]
    assert draw("salt", "item", "42") == int(digits, 16) / 2**32


def test_latest_interactions_go_to_eval_at_least_one_from_three_on():
    assert split(2) == "tt"
    assert split(3) == "tte"
    assert split(9) == "tttttttte"
    assert split(10) == "ttttttttee"
    assert split(4, eval_tail_share=0.9) == "teee"


def test_held_out_items_do_not_count_towards_the_tail():
    assert split(4, held_out=(1, 3)) == "tntn"
    assert split(5, held_out=(0, 4)) == "ntten"


def test_what_a_user_takes_again_is_on_one_side():
    """No list holds what the user has, and a model that learned of it would know the answer."""
    options = data_options(eval_user_share=1.0, eval_tail_share=0.4)

    def splits(items):
        taken = [Event(10 * i, item, 1.0, False, 0) for i, item in enumerate(items)]
        return "".join(split[0] for split in split_events(options, "u", taken))

    assert splits("abcdea") == "ttteet"
    assert splits("abcdedde") == "ttteeeee"
    assert splits("aaab") == "tttt"  # two items


def test_user_that_is_not_drawn_has_no_tail():
    assert split(10, eval_user_share=0.0) == "t" * 10


def test_shares_are_those_asked_for():
    options = data_options(new_item_share=0.1)
    share = sum(is_held_out(options, str(i), None) for i in range(20_000)) / 20_000
    assert abs(share - 0.1) < 0.01


def test_variant_group_shares_one_draw_and_a_group_of_one_draws_as_its_item():
    options = data_options(new_item_share=0.5)
    for group in map(str, range(20)):
        draws = {is_held_out(options, item, group) for item in "abcdef"}
        assert draws == {is_held_out(options, group, None)}


def test_salt_changes_the_draws():
    one, other = data_options(new_item_share=0.5), data_options(new_item_share=0.5, split_salt="x")
    items = list(map(str, range(50)))
    assert [is_held_out(one, i, None) for i in items] != [
        is_held_out(other, i, None) for i in items
    ]
