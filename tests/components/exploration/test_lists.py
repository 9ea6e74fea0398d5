"""Lists out of a log that the real writer wrote."""

import pytest

from components.exploration.lists import SeenList, read_lists
from models.errors import BadInput
from models.pseudonyms import pseudonym
from serving.answers import Ranking
from serving.feedback.log import FeedbackLog

KEY = b"a key of a shop"
USERS = {pseudonym(KEY, user): user for user in ("ann", "ben")}


@pytest.fixture
def log(tmp_path):
    with FeedbackLog(tmp_path, key=KEY) as log:
        first = log.impression("ann", Ranking(["a", "b"], [2.0, 1.0], 7, [1.0, 0.25]))
        second = log.impression("eve", Ranking(["b", "c"], [2.0, 1.0], 7), history=["a"])
        log.click("ann", "a", first)
        log.purchase("ann", "b", first)
        log.purchase("eve", "c", second)
        log.purchase("eve", "a")  # by herself: no list earned it
    (tmp_path / "broken.jsonl").write_text("{}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("reward", "rewarded"), [("purchase", [{"b"}, {"c"}]), ("click", [{"a"}, set()])]
)
def test_a_list_has_what_was_shown_and_what_it_earned(log, reward, rewarded):
    (ann, eve), bad = read_lists(log, users=USERS, reward=reward)
    assert [ann.rewarded, eve.rewarded] == rewarded
    assert [(one.item, one.propensity) for one in ann.items] == [("a", 1.0), ("b", 0.25)]
    assert (ann.user, ann.history) == ("ann", ())
    assert (eve.user, eve.history) == (pseudonym(KEY, "eve"), ("a",))
    assert [(line.file, line.line) for line in bad] == [("broken.jsonl", 1)]


def test_a_log_that_is_not_there_is_missed_by_name(tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        read_lists(tmp_path / "nowhere", users={}, reward="purchase")


def test_all_lists_of_a_user_judge_or_none_does_and_half_of_the_users_do():
    judges = []
    for number in range(2000):
        told = {SeenList(str(n), f"u{number}", (), (), frozenset()).is_judge for n in range(3)}
        judges += [*told]
    assert len(judges) == 2000
    assert 900 < sum(judges) < 1100
