"""Explored places in the lists of a saved model, against an enumeration of its draws."""

import numpy as np
import pytest
import tensorflow as tf

from models.shelf.intake import assign
from tests.models.shop import NUM_USERS, SIZE, user_id

K, SHARE, UNIFORM, DRAWS = 10, 0.2, 0.25, 5
USERS = [user_id(user) for user in range(NUM_USERS)]


class Explored:
    """The shop's model with exploration, and what it recommends without."""

    def __init__(self, model):
        self.model = model
        shelf = self.model._shelf
        self.ids = shelf.item_id.numpy().tolist()
        self.new = np.flatnonzero(shelf.is_new.numpy())
        self.draw = np.random.default_rng(5).normal(scale=3.0, size=(len(self.new), DRAWS))
        self.base = self.ask(USERS, k=SIZE)
        self.set(share=[SHARE])

    def set(self, **columns):
        number = len(self.new)
        together = {
            "share": [SHARE], "uniform": [UNIFORM], "salt": ["salt"], "row": self.new,
            "impressions": [0] * number, "is_explored": [True] * number,
            "learned": [0.0] * number, "draw": self.draw,
        } | columns  # fmt: skip
        kinds = {"salt": object, "row": np.int32, "impressions": np.int32, "is_explored": bool}
        assign(
            self.model,
            {
                f"exploration.{name}": np.array(values, kinds.get(name, np.float32))
                for name, values in together.items()
            },
        )

    def ask(self, users, *, k=K, histories=None, width=0, new_only=False):
        histories = histories or [[]] * len(users)
        width = max([width, *map(len, histories)])
        padded = [[*history, *[b""] * (width - len(history))] for history in histories]
        answer = self.model.signatures["recommend"](
            user_id=tf.constant(users), history=tf.constant(padded, tf.string, [len(users), width]),
            profile=tf.fill([len(users)], ""), k=tf.constant(k), new_only=tf.constant(new_only),
        )  # fmt: skip
        return {name: value.numpy() for name, value in answer.items()}

    def candidates(self, user, kept):
        """New items that the first `kept` places leave: places among them and scores."""
        scores = dict(zip(self.base["item_id"][user], self.base["score"][user], strict=True))
        listed = self.base["item_id"][user][:kept]
        ids = [self.ids[row] for row in self.new]
        return {n: scores[i] for n, i in enumerate(ids) if i in scores and i not in listed}

    def chance(self, user, places):
        """Of each new item, by going through the draws."""
        left = self.candidates(user, K - places)
        chance = {
            n: UNIFORM * min(places, len(left)) / len(left) for n in left
        }  # fmt: skip
        for m in range(DRAWS):
            ranked = sorted(left, key=lambda n: -(left[n] + self.draw[n, m]))
            for n in ranked[:places]:
                chance[n] += (1 - UNIFORM) / DRAWS
        return {self.ids[self.new[n]]: value for n, value in chance.items()}


@pytest.fixture(scope="module")
def explored(as_saved):
    return Explored(as_saved())


@pytest.fixture(autouse=True)
def as_before(explored):
    explored.set()


def test_the_last_places_of_a_list_go_to_new_items_and_the_others_stay(explored):
    answer = explored.ask(USERS)
    new = {explored.ids[row] for row in explored.new}
    for user, (items, scores, chance) in enumerate(
        zip(answer["item_id"], answer["score"], answer["propensity"], strict=True)
    ):
        usual = explored.base["item_id"][user]
        assert list(items[:8]) == list(usual[:8])
        assert set(items[8:]) <= new - set(usual[:8])
        assert len(set(items)) == K
        assert (np.diff(scores) <= 0).all()
        assert (chance[:8] == 1).all()


def test_the_propensity_is_the_share_of_the_draws_that_choose_the_item(explored):
    answer = explored.ask(USERS)
    for user in range(NUM_USERS):
        expected = explored.chance(user, 2)
        for item, chance in zip(
            answer["item_id"][user][8:], answer["propensity"][user][8:], strict=True
        ):
            assert chance == pytest.approx(expected[item], rel=1e-5)


def test_items_come_as_often_as_their_propensity_says(explored):
    times, user = 400, 3
    seen = dict.fromkeys(explored.chance(user, 2), 0)
    for salt in range(times):
        explored.set(salt=[str(salt)])
        for item in explored.ask([USERS[user]])["item_id"][0][8:]:
            seen[item] += 1
    for item, chance in explored.chance(user, 2).items():
        spread = np.sqrt(chance * (1 - chance) / times) + 1e-9
        assert abs(seen[item] / times - chance) < 4 * spread + 1 / times, item


def test_a_request_gets_its_answer_whatever_else_is_in_its_batch(explored):
    together = explored.ask(USERS, histories=[[b"item-000"]] * NUM_USERS, width=4)
    for user in (0, 17, 39):
        alone = explored.ask([USERS[user]], histories=[[b"item-000"]])
        np.testing.assert_array_equal(alone["item_id"][0], together["item_id"][user])
        np.testing.assert_allclose(alone["propensity"][0], together["propensity"][user])


def test_a_fraction_of_a_place_is_explored_in_as_many_lists(explored):
    explored.set(share=[0.1])
    lists = [
        explored.ask(USERS, k=5, histories=[[item]] * NUM_USERS)["propensity"]
        for item in explored.ids[:10]
    ]
    # Also where no list of a request explores.
    lists += [explored.ask([user], k=5)["propensity"] for user in USERS[:8]]
    explores = np.concatenate(lists)[:, -1] < 1
    assert abs(explores.mean() - 0.5) < 4 * np.sqrt(0.25 / len(explores))


def test_an_item_whose_budget_is_spent_is_not_explored(explored):
    spent = np.arange(len(explored.new)) % 2 == 0
    explored.set(is_explored=~spent, uniform=[0.5])
    gone = {explored.ids[row] for row in explored.new[spent]}
    usual = explored.base["item_id"]
    for user, items in enumerate(explored.ask(USERS)["item_id"]):
        assert not gone & set(items) - set(usual[user][:K])


def test_a_place_for_the_only_candidate_is_told_from_others_all_the_same(explored):
    only = np.arange(len(explored.new)) == 0
    explored.set(is_explored=only, share=[0.1])
    answer = explored.ask(USERS)
    last = answer["item_id"][:, -1] == explored.ids[explored.new[0]]
    drawn = answer["propensity"][:, -1] < 1
    assert drawn.any() and last[drawn].all() and (answer["propensity"][drawn, -1] > 0.999).all()


def test_what_was_learned_moves_the_score_on_any_place(explored):
    learned = np.linspace(-2, 2, len(explored.new))
    explored.set(share=[0.0], learned=learned)
    by_id = {explored.ids[row]: shift for row, shift in zip(explored.new, learned, strict=True)}
    answer = explored.ask(USERS, k=SIZE)
    for user in range(NUM_USERS):
        before, after = (
            dict(zip(asked["item_id"][user], asked["score"][user], strict=True))
            for asked in (explored.base, answer)
        )
        for item, score in before.items():
            assert after[item] == pytest.approx(score + by_id.get(item, 0.0), abs=1e-4)
    scored = explored.model.signatures["score"](
        user_id=tf.constant(USERS[:1]), history=tf.zeros([1, 0], tf.string),
        profile=tf.constant([""]), item_id=answer["item_id"][0, :1],
    )  # fmt: skip
    assert scored["score"].numpy()[0] == pytest.approx(answer["score"][0, 0], abs=1e-4)


def test_a_list_that_holds_every_candidate_has_nothing_to_explore(explored):
    answer = explored.ask(USERS, k=SIZE, new_only=True)
    assert ((answer["propensity"] == 1) | (answer["item_id"] == b"")).all()
    assert all(len(set(items) - {b""}) == (items != b"").sum() for items in answer["item_id"])
