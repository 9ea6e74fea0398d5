"""A state of exploration learned from a log of the shop's model, and put on its shelf."""

import numpy as np
import pytest
import tensorflow as tf

from components.exploration.lists import SeenList
from components.exploration.observing import observe
from components.exploration.update import update
from models.errors import Refused
from pipeline.config import load_configuration
from serving.answers import Ranking
from serving.feedback.events import Shown
from serving.feedback.log import FeedbackLog
from tests.models.shop import NUM_USERS, user_id

KEY = b"a key of a shop"
USERS = [user_id(user).decode() for user in range(NUM_USERS)]
K = 10


def options(*settings):
    return load_configuration(
        None,
        ["explore.policy=thompson", "explore.share=0.2", "explore.tolerance=9",
         *(f"explore.{setting}" for setting in settings)],
    ).explore  # fmt: skip


def lists(path, users=USERS, **ask):
    """Items, scores and propensities that a version answers."""
    given = {
        "user_id": tf.constant(users), "history": tf.zeros([len(users), 0], tf.string),
        "profile": tf.fill([len(users)], ""), "k": tf.constant(K),
        "new_only": tf.constant(False), **ask,
    }  # fmt: skip
    answer = tf.saved_model.load(str(path)).signatures["recommend"](**given)
    return [answer[name].numpy() for name in ("item_id", "score", "propensity")]


def write(folder, path, wanted, version=1):
    """A log of what a version recommends, of which wanted items are bought."""
    shown = bought = 0
    with FeedbackLog(folder, key=KEY) as log:
        for user, items, scores, chances in zip(USERS, *lists(path), strict=True):
            ids = [item.decode() for item in items]
            made = log.impression(user, Ranking(ids, scores.tolist(), version, chances.tolist()))
            shown += 1
            for item in set(ids) & wanted:
                log.purchase(user, item, made)
                bought += 1
    return shown, bought


@pytest.fixture(scope="module")
def base(served, tmp_path_factory):
    """The shop's model with the folder that lies beside every pushed one."""
    return served.path


@pytest.fixture(scope="module")
def new(served):
    return [served.table.ids[row].decode() for row in np.flatnonzero(served.table.is_new)]


@pytest.fixture(scope="module")
def begun(base, tmp_path_factory):
    """Exploration without a log."""
    path = tmp_path_factory.mktemp("begun") / "1"
    done, _ = update(base, None, options(), key=KEY, candidate=path)
    return path, done


@pytest.fixture(scope="module")
def taught(begun, new, tmp_path_factory):
    """By a log of what that showed, in which everybody buys one of the new items."""
    log, path = tmp_path_factory.mktemp("log"), tmp_path_factory.mktemp("taught") / "1"
    counts = write(log, begun[0], {new[0]})
    done, _ = update(begun[0], log, options(), key=KEY, candidate=path)
    return path, done, log, counts


def exploration(path):
    return tf.saved_model.load(str(path))._shelf.exploration


def test_exploration_begins_without_a_log_and_changes_the_last_places_only(base, begun, new):
    path, done = begun
    assert (done.lists, done.items, done.spent, done.judgement) == (0, len(new), 0, None)
    before, after = lists(base), lists(path)
    np.testing.assert_array_equal(before[0][:, :8], after[0][:, :8])
    assert (after[2][:, :8] == 1).all()
    explored = after[2] < 1
    assert explored[:, 8:].any() and set(after[0][explored].astype(str)) <= set(new)
    assert (exploration(path).learned.numpy() == 0).all()


def test_what_sells_rises_and_no_other_score_moves(base, taught, new):
    path, done, _, (shown, bought) = taught
    assert (done.lists, done.rewards) == (shown, bought)
    learned = dict(zip(new, exploration(path).learned.numpy(), strict=True))
    assert max(learned, key=learned.__getitem__) == new[0]
    everything = {"k": tf.constant(1000)}
    by_id = [
        dict(zip(items[0].astype(str), scores[0], strict=True))
        for items, scores, _ in (
            lists(base, USERS[:1], **everything), lists(path, USERS[:1], **everything)
        )
    ]  # fmt: skip
    for item, score in by_id[0].items():
        assert by_id[1][item] == pytest.approx(score + learned.get(item, 0.0), abs=1e-4)


def test_impressions_on_explored_places_count_against_the_budget(begun, taught, new, tmp_path):
    items, _, chances = lists(begun[0])
    counts = {item: int((chances[items == item.encode()] < 1).sum()) for item in new}
    assert exploration(taught[0]).impressions.numpy().tolist() == list(counts.values())
    most = max(counts.values())
    given = options(f"budget={most}")
    done, _ = update(begun[0], taught[2], given, key=KEY, candidate=tmp_path / "1")
    assert done.spent == sum(count >= most for count in counts.values()) > 0
    # And a log that has lost its older files gives nothing back.
    later = tmp_path / "later"
    later.mkdir()
    done_again, _ = update(tmp_path / "1", later, given, key=KEY, candidate=tmp_path / "2")
    assert done_again.spent == done.spent


def test_the_same_log_given_again_gives_the_same_state(taught, tmp_path):
    path, _, log, _ = taught
    update(path, log, options(), key=KEY, candidate=tmp_path / "1")
    before, after = exploration(path), exploration(tmp_path / "1")
    for column in ("row", "impressions", "learned", "draw", "salt"):
        np.testing.assert_array_equal(
            getattr(before, column).numpy(), getattr(after, column).numpy()
        )


def test_the_policy_none_brings_the_usual_lists_back(base, taught, tmp_path):
    update(taught[0], taught[2], options("policy=none"), key=KEY, candidate=tmp_path / "1")
    for before, after in zip(lists(base), lists(tmp_path / "1"), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_gate_judges_what_was_learned_on_the_explored_places(taught, tmp_path):
    path, done, log, _ = taught
    judgement = done.judgement
    assert judgement is not None
    *_, chances = lists(path)
    assert 0 < judgement.places < (chances < 1).sum()
    bound = -judgement.gain.low
    assert bound > 0
    with pytest.raises(Refused, match="what was learned"):
        update(path, log, options(f"tolerance={bound * 0.99}"), key=KEY, candidate=tmp_path / "1")
    assert not (tmp_path / "1").exists()
    update(path, log, options(f"tolerance={bound * 1.01}"), key=KEY, candidate=tmp_path / "1")


def test_a_promise_is_the_share_of_an_item_among_the_new_ones(base, new):
    """Also where the list left an own history to the user, gave one, or the item was bought."""
    model = tf.saved_model.load(str(base))
    seen = [
        SeenList("0", USERS[3], (), (Shown(item=new[1], propensity=0.5),), frozenset()),
        SeenList("1", "nobody", ("item-001", new[2]), (Shown(item=new[2], propensity=0.5),),
                 frozenset(new)),
    ]  # fmt: skip
    observed = observe(model, seen, new)
    history = tf.constant([["item-001", new[2]]])
    for row, (user, given) in enumerate(
        [(USERS[3], tf.zeros([1, 0], tf.string)), ("nobody", history)]
    ):
        number = len(new)
        scores = model.signatures["score"](
            user_id=tf.fill([number], user), history=tf.repeat(given, number, axis=0),
            profile=tf.fill([number], ""), item_id=tf.constant(new),
        )["score"].numpy()  # fmt: skip
        shares = np.exp(scores) / np.exp(scores).sum()
        assert observed.feedback.promise[row] == pytest.approx(shares[[1, 2][row]], rel=1e-3)
    assert observed.feedback.reward.tolist() == [0.0, 1.0]
