import gc

import pytest

from models.tracing import seldom_collected


def test_garbage_is_looked_for_as_before_once_training_has_ended_or_failed():
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.isenabled() and gc.get_threshold() > before
    assert gc.get_threshold() == before
    with pytest.raises(ValueError, match="failed"), seldom_collected():
        raise ValueError("failed")
    assert gc.get_threshold() == before
