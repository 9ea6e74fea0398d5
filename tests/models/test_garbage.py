import gc

import pytest

from models.garbage import seldom_collected


@pytest.fixture
def usual():
    """Python's own thresholds; the tests run with others."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_garbage_is_looked_for_as_before_once_training_has_ended_or_failed(usual):
    with seldom_collected():
        assert gc.isenabled() and gc.get_threshold() > usual
    assert gc.get_threshold() == usual
    with pytest.raises(ValueError, match="failed"), seldom_collected():
        raise ValueError("failed")
    assert gc.get_threshold() == usual
