import numpy as np
import pytest
import tensorflow as tf

from models.few_shot.clock import ShopClock, clock_at

DAY = 86_400


def test_a_moment_shows_the_share_of_interactions_before_it_ties_in_their_middle():
    clock = ShopClock.of(np.array([40, 10, 10, 30]))
    assert clock.at(np.array([10, 30, 40])).tolist() == [0.25, 0.625, 0.875]
    assert clock.at(np.array([20])) == pytest.approx([(0.25 + 0.625) / 2])


def test_before_the_data_the_clock_stands_and_after_them_it_runs_on_at_the_latest_rate():
    times = np.arange(100) * DAY
    clock = ShopClock.of(times)
    assert clock.at(np.array([-5 * DAY])) == clock.at(np.array([0]))
    # One interaction a day goes on: 1 % of the data.
    later = clock.at(np.array([99 * DAY, 109 * DAY]))
    assert later[1] - later[0] == pytest.approx(0.1, abs=1e-4)
    assert later[1] > 1


def test_the_latest_rate_is_that_of_the_last_tenth():
    slow, fast = np.arange(900) * DAY, 900 * DAY + np.arange(100) * DAY // 10
    clock = ShopClock.of(np.concatenate([slow, fast]))
    end = fast[-1]
    later = clock.at(np.array([end, end + 10 * DAY]))
    assert later[1] - later[0] == pytest.approx(0.1, rel=0.02)  # ten a day of a thousand


@pytest.mark.parametrize("months", [2, 4, 12])
def test_the_clock_runs_on_after_data_that_note_the_month_alone(months):
    clock = ShopClock.of(np.repeat(np.arange(months) * 30 * DAY, 50))
    end = (months - 1) * 30 * DAY
    later = clock.at(np.array([end, end + 30 * DAY]))
    assert later[1] - later[0] == pytest.approx(1 / months)


@pytest.mark.parametrize("count", [50, 5000])
def test_a_moment_far_in_the_future_does_not_stop_the_clock(count):
    times = np.sort(np.random.default_rng(0).integers(0, 365 * DAY, count)) + 1_700_000_000
    end = times[-1]
    asked = end + np.array([0, 7, 30]) * DAY
    mistyped = ShopClock.of(np.append(times, [4_070_908_800] * (1 + count // 125)))  # 2099
    assert mistyped.time[-1] == end
    np.testing.assert_allclose(mistyped.at(asked), ShopClock.of(times).at(asked))


def test_a_pause_is_no_mistake_where_more_than_a_hundredth_comes_after_it():
    times = np.concatenate([np.arange(95), 300 + np.arange(5)]) * DAY
    assert ShopClock.of(times).time[-1] == 304 * DAY


def test_where_nearly_everything_has_one_moment_the_others_still_count():
    assert ShopClock.of(np.array([7] * 200 + [7 + DAY])).time.tolist() == [7, 7 + DAY]


def test_very_many_moments_are_kept_as_few_knots():
    """Of sales that each last a minute."""
    random = np.random.default_rng(0)
    times = random.integers(0, 10**8, (300, 1)) + random.integers(0, 60, (300, 170))
    times = np.sort(times, axis=None)
    clock = ShopClock.of(times)
    assert len(clock.time) <= 4096
    asked = np.random.default_rng(1).integers(0, 10**8, 1000)
    exact = np.searchsorted(times, asked) / len(times)
    assert np.abs(clock.at(asked) - exact).mean() < 3e-4


@pytest.mark.parametrize(
    "times", [[7], [5, 5], [1, 1, 9, 9], [10, 10, 30, 40], list(range(0, 9000, 7))]
)
def test_the_graph_shows_the_same(times):
    clock = ShopClock.of(np.array(times))
    asked = np.concatenate([np.array(times), np.array([-3, 6, 11, 35, 8999, 10**6])])
    found = clock_at(tf.constant(clock.time), tf.constant(clock.share), tf.constant(asked))
    np.testing.assert_allclose(found, clock.at(asked), rtol=1e-6)
