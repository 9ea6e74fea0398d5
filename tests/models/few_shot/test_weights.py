import numpy as np
import pytest

from models.few_shot.weights import EvidenceWeights


@pytest.mark.parametrize(("asked", "found"), [(0, 1), (1, 1), (2, 2), (4, 2), (5, 5), (99, 5)])
def test_the_weights_of_a_number_are_those_of_the_largest_that_is_not_above_it(asked, found):
    count = np.array([1, 2, 5], np.float32)
    weights = EvidenceWeights(count, *(np.tile(count[:, np.newaxis], 3) for _ in range(6)))
    at = weights.at(asked)
    assert at.count.tolist() == [found]
    assert at.level.tolist() == at.weight.tolist() == [[found] * 3]
