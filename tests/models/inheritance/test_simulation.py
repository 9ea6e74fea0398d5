import dataclasses
import zlib

import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance import simulation
from models.inheritance.ease import ease
from models.inheritance.simulation import SimulatedLaunch, launches, most_popular, purchase_matrix

ITEMS, USERS, FOLDS = 60, 90, 4


@pytest.fixture
def purchases():
    random = np.random.default_rng(3)
    matrix = (random.random((USERS, ITEMS)) < 0.15).astype(np.float32)
    matrix[:, 50:] = 0.0  # new products
    return sp.csr_matrix(matrix)


@pytest.fixture
def ids():
    return np.array([b"item-%d" % row for row in range(ITEMS)], object)


def deal(purchases, ids, max_anchors=1000, groups=None, made=None):
    groups = np.arange(ITEMS) if groups is None else groups
    return launches(
        purchases, ids, groups, folds=FOLDS, max_anchors=max_anchors, regularization=5.0, made=made
    )


def with_changed_columns(purchases, columns, seed=9):
    changed = purchases.toarray()
    random = np.random.default_rng(seed)
    changed[:, columns] = random.random((USERS, len(columns))) < 0.5
    return sp.csr_matrix(changed)


def test_what_is_hidden_appears_neither_in_histories_nor_anchors_nor_teacher(purchases):
    targets, anchors = np.arange(0, 50, 5), np.setdiff1d(np.arange(50), np.arange(0, 50, 5))
    launch, other = (
        SimulatedLaunch.hide(matrix, targets=targets, anchors=anchors, regularization=5.0)
        for matrix in (purchases, with_changed_columns(purchases, targets))
    )
    assert not np.intersect1d(launch.anchors, launch.targets).size
    # Other purchases of the hidden items change what is asked, and nothing that is known.
    assert (launch.wanted != other.wanted).nnz
    assert not (launch.history != other.history).nnz
    np.testing.assert_array_equal(launch.teacher, other.teacher)
    np.testing.assert_array_equal(launch.log_popularity, other.log_popularity)


def test_a_launch_holds_the_purchases_of_its_columns(purchases):
    targets, anchors = np.array([4, 9]), np.array([0, 7, 20])
    launch = SimulatedLaunch.hide(purchases, targets=targets, anchors=anchors, regularization=2.0)
    dense = purchases.toarray()
    np.testing.assert_array_equal(launch.history.toarray(), dense[:, anchors])
    np.testing.assert_array_equal(launch.wanted.toarray(), dense[:, targets])
    popularity = np.log1p(dense[:, anchors].sum(0))
    np.testing.assert_allclose(launch.log_popularity, popularity - popularity.mean(), 1e-5)
    teacher = ease(purchases[:, anchors], 2.0)
    np.testing.assert_array_equal(launch.teacher, teacher + 0.3 * np.eye(3, dtype=np.float32))
    both = [
        user for user in range(USERS) if dense[user, anchors].any() and dense[user, targets].any()
    ]
    assert launch.users.tolist() == both


def test_folds_are_disjoint_and_never_hold_the_validation_items(purchases, ids):
    training, validation = deal(purchases, ids)
    hands = [*(fold.targets for fold in training), validation.targets]
    assert len(training) == FOLDS
    assert sorted(np.concatenate(hands)) == list(range(50))
    for fold in training:
        known = np.setdiff1d(np.arange(50), np.concatenate([fold.targets, validation.targets]))
        np.testing.assert_array_equal(fold.anchors, known)
    np.testing.assert_array_equal(
        validation.anchors, np.setdiff1d(np.arange(50), validation.targets)
    )


def test_purchases_of_validation_items_change_nothing_that_training_sees(purchases, ids):
    training, validation = deal(purchases, ids)
    changed, _ = deal(with_changed_columns(purchases, validation.targets), ids)
    for before, after in zip(training, changed, strict=True):
        for field in dataclasses.fields(SimulatedLaunch):
            one, other = getattr(before, field.name), getattr(after, field.name)
            same = not (one != other).nnz if sp.issparse(one) else np.array_equal(one, other)
            assert same, field.name


def test_the_first_training_launches_are_the_same_where_no_more_of_them_are_made(purchases, ids):
    training, validation = deal(purchases, ids)
    few, same_validation = deal(purchases, ids, made=2)
    assert len(few) == 2
    for whole, made in zip([*training[:2], validation], [*few, same_validation], strict=True):
        np.testing.assert_array_equal(made.targets, whole.targets)
        np.testing.assert_array_equal(made.anchors, whole.anchors)


def test_new_products_are_never_simulated(purchases, ids):
    training, validation = deal(purchases, ids)
    for launch in [*training, validation]:
        assert launch.targets.max() < 50
        assert launch.anchors.max() < 50


def test_the_hand_of_an_item_depends_on_its_id_alone(purchases, ids):
    order = np.random.default_rng(0).permutation(ITEMS)
    training, validation = deal(purchases, ids)
    shuffled, shuffled_validation = deal(purchases[:, order], ids[order])
    for one, other in zip([*training, validation], [*shuffled, shuffled_validation], strict=True):
        assert set(ids[one.targets]) == set(ids[order][other.targets])
    assert all(zlib.crc32(item) % (FOLDS + 1) == FOLDS for item in ids[validation.targets])


def test_variants_of_one_product_are_dealt_to_one_hand_by_the_lowest_id(purchases, ids):
    groups = np.arange(ITEMS) // 5
    training, validation = deal(purchases, ids, groups=groups)
    for place, launch in enumerate([*training, validation]):
        assert set(groups[launch.targets]).isdisjoint(groups[launch.anchors])
        for group in set(groups[launch.targets]):
            drawer = min(ids[groups == group])
            assert zlib.crc32(drawer) % (FOLDS + 1) == place


def test_only_the_most_popular_items_become_anchors(purchases, ids):
    popularity = purchases.toarray().sum(0)
    training, _ = deal(purchases, ids, max_anchors=8)
    for fold in training:
        assert len(fold.anchors) == 8
        _, validation = deal(purchases, ids)
        left_out = np.setdiff1d(
            np.arange(50), np.concatenate([fold.anchors, fold.targets, validation.targets])
        )
        assert popularity[fold.anchors].min() >= popularity[left_out].max()


def test_a_launch_has_a_bounded_number_of_targets_and_hides_the_rest_too(
    purchases, ids, monkeypatch
):
    training, validation = deal(purchases, ids)
    hands = [*training, validation]
    most = min(len(launch.targets) for launch in hands)
    monkeypatch.setattr(simulation, "MOST_TARGETS", most)
    bounded, bounded_validation = deal(purchases, ids)
    for whole, drawn in zip(hands, [*bounded, bounded_validation], strict=True):
        assert len(drawn.targets) == most == drawn.wanted.shape[1]
        assert np.isin(drawn.targets, whole.targets).all() and (np.diff(drawn.targets) > 0).all()
        np.testing.assert_array_equal(drawn.anchors, whole.anchors)
        np.testing.assert_array_equal(drawn.teacher, whole.teacher)


def test_ties_of_popularity_go_to_the_lower_row_and_rows_come_in_order():
    popularity = np.array([5, 1, 5, 9, 5, 7])
    allowed = np.array([True, True, True, True, True, False])
    assert most_popular(popularity, allowed, 3).tolist() == [0, 2, 3]
    assert most_popular(popularity, allowed, 99).tolist() == [0, 1, 2, 3, 4]
    assert most_popular(popularity, np.zeros(6, bool), 3).tolist() == []


def test_a_repeated_purchase_counts_once():
    user, item = np.array([0, 0, 1], np.int32), np.array([2, 2, 0], np.int32)
    matrix = purchase_matrix(user, item, (2, 4))
    assert matrix.toarray().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert matrix.dtype == np.float32
