"""What lists of the shop's model teach it, and how that comes onto its shelf."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.bandit import Replay, Visit, simulate
from components.exploration import observing
from components.exploration.lists import SeenList
from components.exploration.observing import observe
from components.exploration.update import teach, update
from models.errors import BadInput, Refused
from models.export.saved_shelf import save_shelf
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


def ask(model, users=USERS, **asked):
    """Items, scores and propensities that a model answers."""
    given = {
        "user_id": tf.constant(users), "history": tf.zeros([len(users), 0], tf.string),
        "profile": tf.fill([len(users)], ""), "k": tf.constant(K),
        "new_only": tf.constant(False), **asked,
    }  # fmt: skip
    answer = model.signatures["recommend"](**given)
    return [answer[name].numpy() for name in ("item_id", "score", "propensity")]


def seen(answer, wanted):
    """Lists of an answer, of which wanted items are bought."""
    lists = []
    for number, (items, _, chances) in enumerate(zip(*answer, strict=True)):
        ids = [item.decode() for item in items]
        shown = tuple(Shown(item=i, propensity=p) for i, p in zip(ids, chances, strict=True))
        bought = frozenset(set(ids) & wanted)
        lists.append(SeenList(f"list {number}", USERS[number], (), shown, bought))
    return lists


@pytest.fixture(scope="module")
def model(as_saved):
    """One that each test teaches anew."""
    return as_saved()


@pytest.fixture(scope="module")
def new(served):
    return [served.table.ids[row].decode() for row in np.flatnonzero(served.table.is_new)]


@pytest.fixture(scope="module")
def usual(model):
    """Answers without exploration."""
    teach(model, [], options("policy=none"))
    return ask(model)


@pytest.fixture(scope="module")
def begun(model, usual):
    """Answers when exploration has just begun."""
    taught = teach(model, [], options())
    assert taught.judgement is None and (taught.state.learned == 0).all()
    return ask(model)


@pytest.fixture(scope="module")
def lists(begun, new):
    """Lists of these, where everybody buys one of the new items."""
    return seen(begun, {new[0]})


def test_exploration_begins_without_a_log_and_changes_the_last_places_only(usual, begun, new):
    np.testing.assert_array_equal(usual[0][:, :8], begun[0][:, :8])
    assert (usual[2] == 1).all() and (begun[2][:, :8] == 1).all()
    explored = begun[2] < 1
    assert explored[:, 8:].any() and set(begun[0][explored].astype(str)) <= set(new)


def test_what_sells_rises_and_no_other_score_moves(model, usual, lists, new):
    teach(model, [], options("policy=none"))
    everything = {"k": tf.constant(1000)}
    before = ask(model, USERS[:1], **everything)
    state = teach(model, lists, options()).state
    after = ask(model, USERS[:1], **everything)
    learned = dict(zip(new, state.learned, strict=True))
    assert max(learned, key=learned.__getitem__) == new[0]
    scores = dict(zip(after[0][0].astype(str), after[1][0], strict=True))
    for item, score in zip(before[0][0].astype(str), before[1][0], strict=True):
        assert scores[item] == pytest.approx(score + learned.get(item, 0.0), abs=1e-4)


def test_impressions_on_explored_places_count_against_the_budget(model, begun, lists, new):
    items, _, chances = begun
    counts = [int((chances[items == item.encode()] < 1).sum()) for item in new]
    state = teach(model, lists, options(f"budget={max(counts)}")).state
    assert state.impressions.tolist() == counts
    assert state.is_explored.tolist() == [count < max(counts) for count in counts]
    # And a log that has lost its older files gives nothing back.
    again = teach(model, [], options(f"budget={max(counts)}")).state
    assert again.is_explored.tolist() == state.is_explored.tolist()


def test_the_same_lists_given_again_give_the_same_state_whatever_was_before(model, lists):
    first = teach(model, lists, options()).state
    again = teach(model, lists, options()).state
    for column in ("row", "impressions", "learned", "draw", "salt"):
        np.testing.assert_array_equal(getattr(first, column), getattr(again, column))


def test_the_policy_none_brings_the_usual_lists_back(model, usual, lists):
    teach(model, lists, options())
    teach(model, lists, options("policy=none"))
    for before, after in zip(usual, ask(model), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_gate_judges_what_was_learned_on_places_that_did_not_teach_it(model, begun, new):
    """What sells among the lists that teach does not among those that judge."""
    teaching, judging = seen(begun, {new[0]}), seen(begun, {new[1]})
    lists = [two if one.is_judge else one for one, two in zip(teaching, judging, strict=True)]
    judgement = teach(model, lists, options()).judgement
    assert judgement is not None
    judges = [one.is_judge for one in lists]
    assert judgement.places == (begun[2][judges] < 1).sum() > 0
    bound = -judgement.gain.low
    assert bound > 0
    refused = options(f"tolerance={bound * 0.99}")
    with pytest.raises(Refused, match="what was learned"):
        teach(model, lists, refused)
    assert not model._shelf.exploration.learned.numpy().any()
    # Where a person overrides the gate, it still says what it thinks of it.
    overridden = teach(model, lists, refused, is_enforced=False)
    assert overridden.state.learned.any() and overridden.judgement == judgement
    np.testing.assert_array_equal(
        model._shelf.exploration.learned.numpy(), overridden.state.learned
    )
    teach(model, lists, options(f"tolerance={bound * 1.01}"))


def test_a_promise_is_the_share_of_an_item_among_the_new_ones(model, new):
    """Also where the list left an own history to the user, gave one, or the item was bought."""
    teach(model, [], options("policy=none"))
    given = [
        SeenList("0", USERS[3], (), (Shown(item=new[1], propensity=0.5),), frozenset()),
        SeenList("1", "nobody", ("item-001", new[2]), (Shown(item=new[2], propensity=0.5),),
                 frozenset(new)),
    ]  # fmt: skip
    observed = observe(model, given, new)
    number = len(new)
    for row, (user, history, shown) in enumerate(
        [(USERS[3], tf.zeros([1, 0], tf.string), 1), ("nobody", [["item-001", new[2]]], 2)]
    ):
        scores = model.signatures["score"](
            user_id=tf.fill([number], user), history=tf.repeat(history, number, axis=0),
            profile=tf.fill([number], ""), item_id=tf.constant(new),
        )["score"].numpy()  # fmt: skip
        shares = np.exp(scores) / np.exp(scores).sum()
        assert observed.feedback.promise[row] == pytest.approx(shares[shown], rel=1e-3)
    assert observed.feedback.reward.tolist() == [0.0, 1.0]


def test_of_very_many_lists_that_judge_a_sample_keeps_its_promises(model, new, monkeypatch):
    teach(model, [], options("policy=none"))
    given = [
        SeenList(str(number), USERS[number % NUM_USERS], (),
                 (Shown(item=new[number % len(new)], propensity=0.5),), frozenset())
        for number in range(90)
    ]  # fmt: skip
    whole = observe(model, given, new)
    monkeypatch.setattr(observing, "_PROMISES", 7 * len(new))
    some = observe(model, given, new)
    assert len(whole.judge) > 7 == len(some.judge) == len(some.promise)
    kept = np.searchsorted(whole.judge, some.judge)
    np.testing.assert_array_equal(whole.judge[kept], some.judge)
    np.testing.assert_array_equal(whole.promise[kept], some.promise)
    assert some.judge.max() > whole.judge[7]
    # What is learned comes from all lists.
    for one, other in zip(some.feedback, whole.feedback, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_version_is_made_of_another_one_and_a_log(served, begun, new, tmp_path):
    shown = bought = 0
    with FeedbackLog(tmp_path / "log", key=KEY) as log:
        for user, items, scores, chances in zip(USERS, *begun, strict=True):
            ids = [item.decode() for item in items]
            made = log.impression(user, Ranking(ids, scores.tolist(), 1, chances.tolist()))
            shown += 1
            for item in set(ids) & {new[0]}:
                log.purchase(user, item, made)
                bought += 1
    done, _ = update(served.path, tmp_path / "log", options(), key=KEY, candidate=tmp_path / "1")
    assert (done.lists, done.strangers, done.rewards, done.bad_lines) == (shown, 0, bought, 0)
    assert (done.items, done.spent) == (len(new), 0)
    model = tf.saved_model.load(str(tmp_path / "1"))
    learned = model._shelf.exploration.learned.numpy()
    assert new[int(learned.argmax())] == new[0]
    assert (ask(model)[2] < 1).any()
    for file in ("assets.extra/admission.npz", "saved_model.pb"):
        assert (tmp_path / "1" / file).read_bytes() == (served.path / file).read_bytes()
    none = options("policy=none")
    update(tmp_path / "1", None, none, key=KEY, candidate=tmp_path / "2")
    ended = tf.saved_model.load(str(tmp_path / "2"))
    assert (ask(ended)[2] == 1).all()
    with pytest.raises(BadInput, match=r"2 explores nothing, and explore\.policy is none"):
        update(tmp_path / "2", None, none, key=KEY, candidate=tmp_path / "3")
    ended._shelf.is_new.assign(np.zeros(len(ended._shelf.is_new.numpy()), bool))
    save_shelf(ended, tmp_path / "2", tmp_path / "sold")
    with pytest.raises(BadInput, match="sold has no new item, so there is nothing to explore"):
        update(tmp_path / "sold", None, options(), key=KEY, candidate=tmp_path / "3")
    assert not (tmp_path / "3").exists()
    before, after = (
        tf.train.load_checkpoint(str(version / "variables" / "variables"))
        for version in (served.path, tmp_path / "1")
    )
    assert before.get_variable_to_dtype_map() == after.get_variable_to_dtype_map()
    for name in before.get_variable_to_dtype_map():
        if not name.startswith("_shelf/exploration/"):
            np.testing.assert_array_equal(before.get_tensor(name), after.get_tensor(name))


def test_the_benchmark_replays_what_the_model_recommends(model, new):
    """One visit each, of whoever buys the new item of a theme and an old one."""
    visits = [Visit(user, (new[place % len(new)], "item-001")) for place, user in enumerate(USERS)]
    replay = Replay(visits, {user: ["item-000"] for user in USERS})
    greedy = simulate(model, replay, options("policy=none"), places=K, rounds=2)
    teach(model, [], options("policy=none"))
    items, *_ = ask(model, history=tf.fill([len(USERS), 1], "item-000"))
    hits = [
        {item.decode() for item in row} & set(visit.bought)
        for row, visit in zip(items, visits, strict=True)
    ]
    assert greedy.all == sum(map(len, hits)) > 0
    assert greedy.new == sum(len(hit & set(new)) for hit in hits)
    assert greedy.places == np.isin(items.astype(str), new).sum()
    assert greedy.explored == greedy.refused == 0
    explored = simulate(model, replay, options("budget=1"), places=K, rounds=2)
    # Of two rounds, the second one may not explore what the first one has shown.
    assert 0 < explored.explored < 2 * len(USERS)


def test_explanations_and_audiences_hold_what_was_learned(model, begun, new):
    taught = teach(model, seen(begun, {new[0]}), options())
    place = int(np.abs(taught.state.learned).argmax())
    assert abs(taught.state.learned[place]) > 0.1
    given = {
        "user_id": tf.constant(USERS), "history": tf.zeros([len(USERS), 0], tf.string),
        "profile": tf.fill([len(USERS)], ""), "item_id": tf.fill([len(USERS)], new[place]),
    }  # fmt: skip
    scores = model.signatures["score"](**given)["score"].numpy()
    why = {name: v.numpy() for name, v in model.signatures["explain"](**given).items()}
    np.testing.assert_allclose(why["score"], scores, rtol=1e-4, atol=1e-4)
    parts = why["base"] + why["evidence"] + why["history_score"].sum(axis=1)
    np.testing.assert_allclose(parts, scores, rtol=1e-3, atol=1e-3)

    texts = dict.fromkeys(("title", "category", "brand", "description"), tf.constant([""]))
    audience = model.signatures["audience"](
        item_id=tf.constant([new[place]]), **texts, price=tf.constant([np.nan]),
        k=tf.constant(len(USERS)),
    )  # fmt: skip
    bought = np.diff(model._shelf.user_offset.numpy())
    expected = dict(zip(USERS, scores + np.log1p(bought), strict=True))
    listed = [user.decode() for user in audience["user_id"][0].numpy()]
    assert listed
    np.testing.assert_allclose(
        audience["score"][0], [expected[user] for user in listed], rtol=1e-3, atol=1e-3
    )
