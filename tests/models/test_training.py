import numpy as np
import pytest
import tensorflow as tf

from models.interactions import PAD, Interactions
from models.kernel import NO_BRAND, ItemView, KernelSettings
from models.options import TrainingOptions
from models.simulation import SimulatedLaunch, launches, purchase_matrix
from models.training import AlignedLaunch, Inputs, Trainer, launch_logits
from models.two_tower import TwoTower
from tests.models.oracle import aligned, kernel_matrix

ITEMS, USERS, THEMES, NOISE = 240, 150, 8, 16
OPTIONS = TrainingOptions(
    steps=40,
    folds=3,
    batch_users=64,
    batch_ratings=64,
    learning_rate=0.05,
    scalar_learning_rate=0.02,
    weight_decay=0.0,
    warmup_steps=5,
    rating_weight=1.0,
    validate_every=10,
    patience=40,
    strategy="default",
    precision="float32",
    seed=3,
)


def make_shop(seed=0, *, implicit=True):
    """Users like one theme, which their profile tells; of features it is a small part."""
    random = np.random.default_rng(seed)
    theme = random.integers(0, THEMES, ITEMS)
    features = np.concatenate(
        [random.normal(size=(ITEMS, NOISE)), 1.2 * np.eye(THEMES)[theme]], axis=1
    )
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    pairs = []
    for user in range(USERS):
        own = np.flatnonzero(theme == user % THEMES)
        pairs += [(user, item) for item in random.choice(own, 12, replace=False)]
    user, item = np.array(pairs, np.int32).T
    rating = np.ones(len(user)) if implicit else random.uniform(0.1, 0.9, USERS)[user]
    history = np.full((len(user), 4), PAD, np.int32)
    history_rating = np.zeros(history.shape, np.float32)
    for row in range(len(user)):
        earlier = [r for r in range(row) if user[r] == user[row]][-4:]
        history[row, : len(earlier)] = item[earlier]
        history_rating[row, : len(earlier)] = rating[earlier]
    interactions = Interactions(
        user=user,
        item=item,
        rating=rating.astype(np.float32),
        timestamp=np.arange(len(user)),
        history=history,
        history_rating=history_rating,
    )
    return Inputs(
        features=features.astype(np.float32),
        price_bucket=np.zeros(ITEMS, np.int32),
        profiles=np.eye(THEMES, dtype=np.float32)[np.arange(USERS) % THEMES],
        interactions=interactions,
        later=interactions,
        negatives=np.arange(ITEMS),
    )


@pytest.fixture(scope="module")
def inputs():
    return make_shop()


SETTINGS = KernelSettings(ridge=1.0, order=0.0, side=0.0)


def view_of(inputs):
    return ItemView(
        text=inputs.features,
        lexical=np.zeros((ITEMS, 1), np.float32),
        place=np.zeros(ITEMS, np.float32),
        price=np.full(ITEMS, np.nan, np.float32),
        brand=np.full(ITEMS, NO_BRAND),
    )


def deal_out(inputs, purchases, **changes):
    ids = np.array([b"item-%d" % row for row in range(ITEMS)], object)
    options = {"folds": 3, "max_anchors": 1000, "regularization": 1e4} | changes
    folds, validation = launches(purchases, ids, np.arange(ITEMS), **options)
    view = view_of(inputs)
    return (
        [AlignedLaunch.align(fold, view, SETTINGS) for fold in folds],
        AlignedLaunch.align(validation, view, SETTINGS),
    )


@pytest.fixture(scope="module")
def deal(inputs):
    purchases = purchase_matrix(inputs.interactions.user, inputs.interactions.item, (USERS, ITEMS))
    return deal_out(inputs, purchases)


def make_model(inputs):
    tf.random.set_seed(0)
    return TwoTower(
        inputs.features,
        size=12,
        price_buckets=2,
        profile_size=THEMES,
        mean_rating=float(inputs.interactions.rating.mean()),
    )


class Watcher:
    """Notes what training reports, and the weights at that moment."""

    def __init__(self, model):
        self.model = model
        self.values = {}
        self.weights = {}

    def __call__(self, step, values):
        self.values[step] = values
        self.weights[step] = [variable.numpy() for variable in self.model.variables]


def train(inputs, deal, *, model=None, **changes):
    model = model or make_model(inputs)
    trainer = Trainer(model, inputs, OPTIONS.model_copy(update=changes))
    watcher = Watcher(model)
    folds, validation = deal
    outcome = trainer.run(folds, validation, watcher)
    return model, trainer, watcher, outcome


@pytest.fixture(scope="module")
def trained(inputs, deal):
    return train(inputs, deal)


def test_training_learns_what_profiles_want_of_items_it_never_saw(trained, deal):
    _, trainer, watcher, outcome = trained
    assert outcome.before == watcher.values[0]
    assert outcome.after["recall"] > outcome.before["recall"] + 0.15
    assert outcome.after["ndcg"] > outcome.before["ndcg"] + 0.15
    assert watcher.values[outcome.step]["retrieval_loss"] > 0.0
    again = trainer.evaluate(deal[1], deal[1].launch.users)
    assert again["score"] == pytest.approx(outcome.after["score"])


def test_the_first_best_step_is_what_is_left_of_a_training(trained):
    model, _, watcher, outcome = trained
    scores = {step: values["score"] for step, values in watcher.values.items()}
    best = max(scores.values())
    assert outcome.step == min(step for step in scores if scores[step] == best)
    errors = {step: values["squared_error"] for step, values in watcher.values.items()}
    head_step = min(step for step in errors if errors[step] == min(errors.values()))
    head = {variable.ref() for variable in model.rating.variables}
    kept, head_kept = watcher.weights[outcome.step], watcher.weights[head_step]
    for variable, tower_value, head_value in zip(model.variables, kept, head_kept, strict=True):
        expected = head_value if variable.ref() in head else tower_value
        np.testing.assert_array_equal(variable, expected)


def test_a_training_that_only_ruins_stops_early_and_leaves_the_model_as_it_was(
    trained, inputs, deal
):
    model = make_model(inputs)
    for variable, value in zip(model.variables, trained[0].variables, strict=True):
        variable.assign(value)
    _, _, watcher, outcome = train(
        inputs, deal, model=model, learning_rate=1e3, scalar_learning_rate=1e3, patience=20
    )
    assert outcome.step == 0
    assert outcome.after == outcome.before
    assert list(watcher.values) == [0, 10, 20]
    ruined = zip(watcher.weights[20], watcher.weights[0], strict=True)
    assert any(not np.array_equal(last, first) for last, first in ruined)
    for variable, value in zip(model.variables, watcher.weights[0], strict=True):
        np.testing.assert_array_equal(variable, value)


def test_no_steps_leave_the_model_as_it_was_and_are_measured(inputs, deal):
    model, _, watcher, outcome = train(inputs, deal, steps=0)
    assert outcome.step == 0
    assert outcome.before == outcome.after
    for variable, value in zip(model.variables, watcher.weights[0], strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_same_seed_trains_the_same_model(trained, inputs, deal):
    _, _, watcher, _ = train(inputs, deal)
    assert watcher.values.keys() == trained[2].values.keys()
    for step, values in watcher.values.items():
        assert values == pytest.approx(trained[2].values[step], rel=1e-2, abs=1e-3)


def test_explicit_ratings_are_learned_beside_retrieval():
    inputs = make_shop(implicit=False)
    purchases = purchase_matrix(inputs.interactions.user, inputs.interactions.item, (USERS, ITEMS))
    _, _, _, outcome = train(inputs, deal_out(inputs, purchases), steps=20)
    assert outcome.after["squared_error"] < outcome.before["squared_error"]
    variance = inputs.interactions.rating.var()
    assert outcome.before["squared_error"] < variance, "the users' own levels count from the start"


def test_a_shop_too_small_to_simulate_anything_is_not_trained(inputs):
    purchases = purchase_matrix(np.array([0], np.int32), np.array([0], np.int32), (USERS, ITEMS))
    tiny = deal_out(inputs, purchases, max_anchors=10, regularization=1.0)
    _, _, _, outcome = train(inputs, tiny)
    assert outcome.step == 0
    assert outcome.before["score"] == 0.0


def test_hidden_items_reach_a_launch_only_as_what_is_asked(inputs, deal):
    """Purchases of hidden items are changed; the logits of the launch stay as they are."""
    model = make_model(inputs)
    trainer = Trainer(model, inputs, OPTIONS)
    training, _ = deal
    launch = training[0].launch
    purchases = purchase_matrix(
        inputs.interactions.user, inputs.interactions.item, (USERS, ITEMS)
    ).tolil()
    purchases[:, launch.targets] = 0.0
    emptied = SimulatedLaunch.hide(
        purchases.tocsr(), targets=launch.targets, anchors=launch.anchors, regularization=1e4
    )
    other = AlignedLaunch.align(emptied, view_of(inputs), SETTINGS)
    users = launch.users[:20]
    one, same = (
        launch_logits(model, trainer._launch_batch(which, users)) for which in (training[0], other)
    )
    np.testing.assert_array_equal(one, same)


def test_launch_logits_are_the_towers_formula(inputs, deal):
    model = make_model(inputs)
    random = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(scale=0.2, size=variable.shape))
    v = {variable.name.split(":")[0]: variable.numpy() for variable in model.variables}
    launch, users = deal[1].launch, deal[1].launch.users[:7]
    found = launch_logits(model, Trainer(model, inputs, OPTIONS)._launch_batch(deal[1], users))
    target = model.items(inputs.features[launch.targets], 0 * launch.targets).numpy()
    weights = aligned(
        kernel_matrix(view_of(inputs), SETTINGS), launch.anchors, launch.history.toarray(),
        SETTINGS.ridge,
    )[:, launch.targets]  # fmt: skip
    demand = v["popularity_weight"] * launch.log_popularity @ weights
    for place, user in enumerate(users):
        inherited = launch.history[user].toarray()[0] @ launch.teacher @ weights
        ratio = np.maximum(inherited, 0) / (max(inherited.mean(), 0) + 1e-4)
        expected = (
            v["inheritance_weight"] * np.log(ratio + np.exp(v["log_floor"]))
            + demand
            + target @ (inputs.profiles[user] @ v["profile_projection"])
        )
        np.testing.assert_allclose(found[place], expected, rtol=1e-3, atol=1e-3)
