import numpy as np
import pytest
import scipy.sparse as sp

from models.inheritance.kernel import NO_BRAND, ItemView, KernelSettings
from models.inheritance.selection import START, _climb, is_better, keep_kernel, select_kernel
from models.inheritance.simulation import SimulatedLaunch

ITEMS, USERS = 120, 200


def shop(*, told_by):
    """Users like one series of ten items; texts or the order of ids tell the series."""
    random = np.random.default_rng(1)
    series = np.arange(ITEMS) // 10
    noise = random.normal(size=(ITEMS, 24))
    text = noise + (3.0 * np.eye(12, 24)[series] if told_by == "text" else 0.0)
    place = np.arange(ITEMS) if told_by == "order" else random.permutation(ITEMS)
    view = ItemView(
        text=(text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32),
        terms=sp.csr_matrix((ITEMS, 1), dtype=np.float32),
        place=(place / ITEMS).astype(np.float32),
        price=np.full(ITEMS, np.nan, np.float32),
        brand=np.full(ITEMS, NO_BRAND),
    )
    liked = series == random.integers(0, 12, USERS)[:, np.newaxis]
    bought = random.random((USERS, ITEMS)) < np.where(liked, 0.6, 0.02)
    return view, sp.csr_matrix(bought.astype(np.float32))


def launches_of(purchases):
    hand = np.random.default_rng(3).integers(0, 4, ITEMS)
    return [
        SimulatedLaunch.hide(
            purchases, targets=np.flatnonzero(hand == h), anchors=np.flatnonzero(hand != h),
            regularization=10.0,
        )
        for h in (0, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("told_by", ["text", "order"])
def test_the_choice_is_better_than_the_start_and_nothing_measured_is_much_better(told_by):
    view, purchases = shop(told_by=told_by)
    measured: dict[KernelSettings, float] = {}
    chosen = select_kernel(view, launches_of(purchases), measured.__setitem__)
    assert measured[chosen] >= max(measured[START], max(measured.values()) - 0.02)
    assert len(measured) > 4


def test_a_step_is_taken_only_for_more_than_one_standard_error():
    random = np.random.default_rng(0)
    one, two = random.random(400), random.random(100)
    noise = [random.normal(size=400), random.normal(size=100)]
    noise = [values - values.mean() for values in noise]
    error = np.sqrt(noise[0].var() / 400 + noise[1].var() / 100) / 2
    for gain, taken in ((0.9 * error, False), (1.1 * error, True)):
        better = [base + more + gain for base, more in zip((one, two), noise, strict=True)]
        assert is_better(better, [one, two]) == taken


def climbed(recalls):
    """The ridge that is found from 1.0 on, and those that were asked about, by their mean recalls.

    Of 100 users whose gains have a standard error of about 0.014.
    """
    random = np.random.default_rng(5)
    noise = random.normal(scale=0.1, size=(len(recalls), 100))
    noise -= noise.mean(axis=1, keepdims=True)
    users = {ridge: [mean + own] for (ridge, mean), own in zip(recalls.items(), noise, strict=True)}
    asked = set()

    def told(settings):
        asked.add(settings.ridge)
        return users[settings.ridge]

    return _climb(START, "ridge", told).ridge, asked


def test_small_steps_up_are_taken_together_in_either_direction_and_none_across_a_valley():
    up = {1.0: 0.4, 2.0: 0.41, 4.0: 0.42, 8.0: 0.41}
    assert climbed(up) == (4.0, set(up))
    # What is as good is no step up; behind it 0.06 would be better.
    down = {0.12: 0.42, 0.25: 0.42, 0.5: 0.41, 1.0: 0.4, 2.0: 0.39}
    assert climbed(down) == (0.25, set(down))


def test_a_climb_to_what_is_better_by_chance_alone_leads_nowhere():
    assert climbed({0.5: 0.39, 1.0: 0.4, 2.0: 0.405, 4.0: 0.41, 8.0: 0.4})[0] == 1.0


def test_all_settings_are_tried_beside_the_choice_and_none_is_measured_twice():
    view, purchases = shop(told_by="text")
    told = []
    chosen = select_kernel(view, launches_of(purchases), lambda settings, _: told.append(settings))
    assert chosen == START._replace(order=0.0), "or the ridge need not be tried again"
    assert {chosen._replace(ridge=ridge) for ridge in (0.5, 2.0)} <= set(told)
    assert {chosen._replace(side=side) for side in (0.0, 0.06)} <= set(told)
    assert len(told) == len(set(told))


def test_the_order_of_ids_counts_where_it_tells_something():
    view, purchases = shop(told_by="order")
    measured: dict[KernelSettings, float] = {}
    chosen = select_kernel(view, launches_of(purchases), measured.__setitem__)
    assert chosen.order > 0.0
    without = {settings for settings in measured if settings.order == 0.0}
    assert measured[chosen] > max(measured[settings] for settings in without) + 0.1


def test_a_shop_without_launches_keeps_the_start():
    view, purchases = shop(told_by="text")
    empty = SimulatedLaunch.hide(
        sp.csr_matrix(purchases.shape),
        targets=np.arange(5),
        anchors=np.arange(5, ITEMS),
        regularization=1.0,
    )
    assert select_kernel(view, [], lambda *_: None) == START
    assert select_kernel(view, [empty], lambda *_: None) == START


def test_an_earlier_choice_is_kept_after_one_comparison():
    view, purchases = shop(told_by="order")
    kept = START._replace(order=2.0)
    measured: dict[KernelSettings, float] = {}
    assert keep_kernel(kept, view, launches_of(purchases)[:1], measured.__setitem__) == kept
    assert set(measured) == {kept, START}


def test_an_earlier_choice_that_has_become_worse_than_the_start_is_made_anew():
    view, purchases = shop(told_by="order")
    launches = launches_of(purchases)
    # Without the order of ids nothing is known here.
    stale = KernelSettings(ridge=8.0, order=0.0, side=0.0)
    measured: dict[KernelSettings, float] = {}
    found = keep_kernel(stale, view, launches, measured.__setitem__)
    assert found == select_kernel(view, launches, lambda settings, recall: None)
    assert measured[found] > measured[stale] + 0.1


def test_an_earlier_choice_stays_where_no_launch_has_users():
    view, purchases = shop(told_by="text")
    nobody = sp.csr_matrix(purchases.shape, dtype=np.float32)
    kept = KernelSettings(ridge=4.0, order=2.0, side=0.06)
    assert keep_kernel(kept, view, launches_of(nobody), lambda *_: None) == kept
