from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from models import training
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import NO_BRAND, ItemView, KernelSettings
from models.inheritance.simulation import SimulatedLaunch, launches, purchase_matrix
from models.interactions import PAD, Interactions, Profiles
from models.options import TrainingOptions
from models.purchase_chance import DrawnPairs
from models.ranking import ranking_quality
from models.training import Inputs, Trainer, profile_logits
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
    propensity_exponent=0.0,
    propensity_clip=10.0,
    validate_every=10,
    patience=40,
    strategy="default",
    precision="float32",
    checkpoints=None,
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
        propensity=np.full(len(user), np.nan, np.float32),
        span=np.zeros(len(user), np.int32),
    )
    return Inputs(
        features=features.astype(np.float32),
        price_bucket=np.zeros(ITEMS, np.int32),
        quality=np.zeros(ITEMS, np.float32),
        quality_as_new=np.zeros(ITEMS, np.float32),
        profiles=Profiles(
            np.eye(THEMES, dtype=np.float32), (np.arange(USERS) % THEMES).astype(np.int32)
        ),
        interactions=interactions,
        sampled=np.arange(len(user)),
        later=interactions,
        is_implicit=implicit,
        negatives=np.arange(ITEMS),
        drawn=None,
    )


@pytest.fixture(scope="module")
def inputs():
    inputs = make_shop()
    train = inputs.interactions
    purchases = purchase_matrix(train.user, train.item, (USERS, ITEMS))
    drawn = DrawnPairs.of(deal_out(inputs, purchases)[1], train=train, later=inputs.later)
    return replace(inputs, drawn=drawn)


SETTINGS = KernelSettings(ridge=1.0, order=0.0, side=0.0)


def view_of(inputs):
    return ItemView(
        text=inputs.features,
        terms=sp.csr_matrix((ITEMS, 1), dtype=np.float32),
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
        mean_rating=inputs.interactions.mean_rating,
        mean_target=inputs.mean_target,
        head="linear",
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
    folds, _ = deal
    outcome = trainer.run(folds, watcher)
    return model, trainer, watcher, outcome


@pytest.fixture(scope="module")
def trained(inputs, deal):
    return train(inputs, deal)


@pytest.fixture(scope="module")
def rated():
    """A shop with ratings."""
    return make_shop(implicit=False)


@pytest.fixture(scope="module")
def deal_of_rated(rated):
    train = rated.interactions
    return deal_out(rated, purchase_matrix(train.user, train.item, (USERS, ITEMS)))


@pytest.fixture(scope="module")
def trained_on_ratings(rated, deal_of_rated):
    return train(rated, deal_of_rated)


def profile_recall(model, trainer, aligned):
    """Recall at 20 of the launch, asked by profiles alone."""
    users = aligned.launch.users
    logits = profile_logits(model, trainer._launch_batch(aligned, users)).numpy()
    recall, _ = ranking_quality(logits, aligned.launch.wanted[users].toarray(), 20)
    return recall.mean()


def test_training_learns_what_profiles_want_of_items_it_never_saw(trained, inputs, deal):
    model, trainer, watcher, outcome = trained
    assert outcome.before == watcher.values[0]
    assert watcher.values[outcome.step]["profile_loss"] > 0.0
    fresh = make_model(inputs)
    before = profile_recall(fresh, Trainer(fresh, inputs, OPTIONS), deal[1])
    assert profile_recall(model, trainer, deal[1]) > before + 0.15


def test_where_there_are_ratings_the_highest_alone_in_the_train_split_make_no_negatives(inputs):
    rated = replace(inputs, is_implicit=False)
    assert (inputs.mean_target, rated.mean_target) == (0.5, 1.0)
    error, without = (
        Trainer(make_model(shop), shop, OPTIONS).squared_error(shop.later)["squared_error"]
        for shop in (inputs, rated)
    )
    assert error == pytest.approx(0.25, abs=0.01)
    assert without < 0.01


def test_the_error_of_very_many_ratings_is_that_of_a_sample_and_not_of_the_first(
    inputs, monkeypatch
):
    rating = np.where(np.arange(len(inputs.later)) < len(inputs.later) / 2, 0.0, 1.0)
    later = replace(inputs.later, rating=rating.astype(np.float32))
    rated = replace(inputs, is_implicit=False)  # training saw the highest rating alone
    monkeypatch.setattr(training, "_RATED", len(later) // 2)
    trainer = Trainer(make_model(rated), rated, OPTIONS)
    error = trainer.squared_error(later)["squared_error"]
    assert error == pytest.approx(0.5, abs=0.1)
    assert trainer.squared_error(later)["squared_error"] == error


def test_launches_of_all_sizes_are_trained_on_with_one_graph(inputs, deal, monkeypatch):
    traced = []

    def noted(*given):
        traced.append(given)
        return profile_logits(*given)

    monkeypatch.setattr("models.training.profile_logits", noted)
    folds, _ = deal
    assert len({len(fold.launch.targets) for fold in folds}) > 1
    train(inputs, deal, steps=len(folds))
    assert len(traced) == 1


def test_the_best_step_is_what_is_left_of_a_training(trained_on_ratings):
    model, _, watcher, outcome = trained_on_ratings
    errors = {step: values["squared_error"] for step, values in watcher.values.items()}
    assert outcome.step == min(step for step in errors if errors[step] == min(errors.values()))
    assert outcome.after["squared_error"] == errors[outcome.step]
    for variable, value in zip(model.variables, watcher.weights[outcome.step], strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_training_that_only_ruins_stops_early_and_leaves_the_model_as_it_was(
    trained_on_ratings, rated, deal_of_rated
):
    model = make_model(rated)
    for variable, value in zip(model.variables, trained_on_ratings[0].variables, strict=True):
        variable.assign(value)
    _, _, watcher, outcome = train(
        rated, deal_of_rated, model=model, learning_rate=1e3, scalar_learning_rate=1e3, patience=20
    )
    assert outcome.step == 0
    assert outcome.after == outcome.before
    assert list(watcher.values) == [0, 10, 20]
    ruined = zip(watcher.weights[20], watcher.weights[0], strict=True)
    assert any(not np.array_equal(last, first) for last, first in ruined)
    for variable, value in zip(model.variables, watcher.weights[0], strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_last_steps_count_however_many_there_are(inputs, deal):
    _, _, watcher, outcome = train(inputs, deal, steps=13)
    assert list(watcher.values) == [0, 10, 13]
    assert outcome.step == 13


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


def test_what_is_popular_counts_the_less_in_both_losses(inputs, deal):
    options = OPTIONS.model_copy(update={"propensity_exponent": 0.5, "propensity_clip": 1.5})
    trainer = Trainer(make_model(inputs), inputs, options)
    count = np.bincount(inputs.interactions.item, minlength=ITEMS)
    expected = np.maximum(count, 1) ** -0.5
    expected = np.minimum(expected / np.average(expected, weights=count), 1.5)
    fold = deal[0][0]
    batch = trainer._sample(fold, fold.launch.users)
    wanted, targets = batch["wanted"].numpy(), fold.launch.targets
    np.testing.assert_allclose(wanted.max(axis=0), np.where(
        wanted.any(axis=0), expected[targets], 0.0
    ), rtol=1e-5)  # fmt: skip
    rating, weight = batch["rated"].rating.numpy(), batch["rated"].weight.numpy()
    # Of what is not bought nothing is known of how it was seen.
    assert (weight[rating == 0] == 1).all()
    bought = weight[rating == 1]
    assert len(np.unique(bought)) > 1
    assert np.isin(bought.round(4), expected.round(4).astype(np.float32)).all()


def test_what_was_shown_by_chance_counts_by_the_logged_propensity_in_both_losses(inputs, deal):
    options = OPTIONS.model_copy(update={"propensity_exponent": 1.0, "propensity_clip": 8.0})
    train = inputs.interactions
    # One half of the users was shown what it bought, by chances that the log tells.
    logged = np.where(train.user % 2, 1 / (2 + train.item % 3), np.nan).astype(np.float32)
    shown = replace(inputs, interactions=replace(train, propensity=logged))
    trainer = Trainer(make_model(shown), shown, options)
    inverse = 2.0 + train.item % 3
    inverse /= inverse[train.user % 2 == 1].mean()
    fold = deal[0][0]
    of_pair = dict(zip(zip(train.user, train.item, strict=True), inverse, strict=True))
    for user in fold.launch.users[fold.launch.users % 2 == 1][:5]:
        [wanted] = trainer._sample(fold, np.array([user]))["wanted"].numpy()
        expected = [
            of_pair[user, item] if fold.launch.wanted[user, place] else 0.0
            for place, item in enumerate(fold.launch.targets)
        ]
        np.testing.assert_allclose(wanted, expected, rtol=1e-5)
    rated = trainer._sample_ratings()
    weight, is_bought = rated.weight.numpy(), rated.rating.numpy() == 1
    assert np.isclose(weight[is_bought][:, np.newaxis], np.unique(inverse)).any(axis=1).mean() > 0.3


def test_explicit_ratings_are_learned_beside_retrieval(rated, deal_of_rated):
    _, _, _, outcome = train(rated, deal_of_rated, steps=20)
    assert outcome.after["squared_error"] < outcome.before["squared_error"]
    assert outcome.chance is None
    variance = rated.interactions.rating.var()
    assert outcome.before["squared_error"] < variance, "the users' own levels count from the start"


def test_without_ratings_the_last_step_is_kept_and_its_chance_is_what_is_measured(
    trained, inputs, deal
):
    model, trainer, watcher, outcome = trained
    assert outcome.step == 40 == max(watcher.values)
    for variable, value in zip(model.variables, watcher.weights[40], strict=True):
        np.testing.assert_array_equal(variable, value)
    anchors = trainer._rated(inputs.drawn.anchors)
    found = outcome.chance.squared_error(anchors, is_anchor=True)
    assert outcome.after["squared_error"] == pytest.approx(found, rel=0.02)
    # As well as anybody can who knows what is bought together, and no head does.
    by_head = trainer.squared_error(inputs.later)["squared_error"]
    assert found < 0.6 * by_head


def test_a_shop_too_small_to_simulate_anything_is_not_trained(inputs):
    purchases = purchase_matrix(np.array([0], np.int32), np.array([0], np.int32), (USERS, ITEMS))
    tiny = deal_out(inputs, purchases, max_anchors=10, regularization=1.0)
    _, _, _, outcome = train(inputs, tiny)
    assert outcome.step == 0
    assert tiny[1].quality() == {"recall": 0.0, "ndcg": 0.0, "score": 0.0}


def test_hidden_items_reach_a_launch_only_as_what_is_asked(inputs, deal):
    """Purchases of hidden items are changed; what the targets inherit stays as it is."""
    aligned_launch = deal[0][0]
    launch = aligned_launch.launch
    purchases = purchase_matrix(
        inputs.interactions.user, inputs.interactions.item, (USERS, ITEMS)
    ).tolil()
    purchases[:, launch.targets] = 0.0
    emptied = SimulatedLaunch.hide(
        purchases.tocsr(), targets=launch.targets, anchors=launch.anchors, regularization=1e4
    )
    other = AlignedLaunch.align(emptied, view_of(inputs), SETTINGS)
    np.testing.assert_array_equal(aligned_launch.weights, other.weights)


def test_a_launchs_quality_is_that_of_what_its_targets_inherit(inputs, deal):
    launch = deal[1].launch
    weights = aligned(
        kernel_matrix(view_of(inputs), SETTINGS), launch.anchors, launch.history.toarray(),
        SETTINGS.ridge,
    )[:, launch.targets]  # fmt: skip
    recalls = []
    for user in launch.users:
        scores = launch.history[user].toarray()[0] @ launch.teacher @ weights
        best = np.argsort(-scores)[:20]
        wanted = np.flatnonzero(launch.wanted[user].toarray()[0])
        recalls.append(len(set(best) & set(wanted)) / min(20, len(wanted)))
    found = deal[1].quality()
    assert found["recall"] == pytest.approx(np.mean(recalls), abs=0.01)
    assert found["score"] == pytest.approx((found["recall"] + found["ndcg"]) / 2)


def test_profile_logits_are_popularity_and_affinity(inputs, deal):
    model = make_model(inputs)
    random = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(scale=0.2, size=variable.shape))
    v = {variable.name.split(":")[0]: variable.numpy() for variable in model.variables}
    launch, users = deal[1].launch, deal[1].launch.users[:7]
    found = profile_logits(model, Trainer(model, inputs, OPTIONS)._launch_batch(deal[1], users))
    target = model.items(inputs.features[launch.targets], 0 * launch.targets).numpy()
    affinity = inputs.profiles.at(users) @ v["profile_projection"] @ target.T
    expected = launch.log_popularity @ deal[1].weights + affinity
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
