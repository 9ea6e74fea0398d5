import numpy as np
import pytest
import tensorflow as tf

from models.ragged import joined, row_sums, spread


@pytest.fixture(params=[[], [0], [0, 0, 3, 0], [64], [63, 1, 64, 65, 0, 500, 1], [1] * 200])
def lists(request):
    """Rows of these lengths, some of them much larger than others."""
    random = np.random.default_rng(5)
    values = random.normal(size=sum(request.param)) * 10.0 ** random.integers(-2, 5)
    return tf.RaggedTensor.from_row_lengths(values.astype(np.float32), np.int64(request.param))


def test_each_row_is_summed_up_as_if_it_stood_alone(lists):
    expected = [np.sum(row, dtype=np.float64) for row in lists.to_list()]
    size = max((np.abs(row).sum() for row in lists.to_list()), default=0.0)
    np.testing.assert_allclose(row_sums(lists), np.array(expected), rtol=0, atol=1e-6 * size)


def test_a_small_row_behind_large_ones_keeps_its_digits():
    lists = tf.ragged.constant([[1e6] * 1000, [1e-3, 2e-3], [], [1e6], [5e-4]])
    np.testing.assert_allclose(row_sums(lists)[1::3], [3e-3, 5e-4], rtol=1e-3)


def test_each_value_gets_the_number_of_its_row(lists):
    numbers = np.random.default_rng(6).random(len(lists.to_list())).astype(np.float32)
    expected = np.repeat(numbers, lists.row_lengths())
    np.testing.assert_allclose(spread(tf.constant(numbers), lists), expected, atol=1e-5)


@pytest.mark.parametrize(
    "rows", [[], [[]], [[[1, 2], [], [3]], [], [[]], [[4]]], [[[1], [2, 3, 4]], [[5, 6]]]]
)
def test_rows_of_rows_become_one_row_each(rows):
    expected = [[value for inner in row for value in inner] for row in rows]
    lists = tf.ragged.constant(rows, tf.int64, ragged_rank=2)
    assert joined(lists).to_list() == expected
