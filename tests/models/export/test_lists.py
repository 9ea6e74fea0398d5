import numpy as np
import pytest
import tensorflow as tf

from models.export.lists import repeated
from models.export.shortlist import shortlist


@pytest.mark.parametrize("width", [0, 1, 2, 7, 50])
def test_a_value_is_repeated_where_it_stands_further_left_too(width):
    rows = np.random.default_rng(width).integers(-1, max(width // 2, 1), (5, width))
    expected = [[value in row[:place] for place, value in enumerate(row)] for row in rows.tolist()]
    found = repeated(tf.constant(rows, tf.int64)).numpy()
    np.testing.assert_array_equal(found, np.reshape(expected, rows.shape))


@pytest.mark.parametrize("items", [1, 2, 3, 4, 5])
def test_a_catalogue_too_small_for_a_block_is_its_own_shortlist(items):
    embeddings = tf.cast(tf.random.stateless_normal([items, 8], [1, 2]), tf.bfloat16)
    rows = shortlist(
        tf.ones([3, 8]), embeddings, tf.constant(2), adjust=lambda estimates, *_: estimates
    )
    np.testing.assert_array_equal(rows, [range(items)] * 3)
