import numpy as np
import pytest

from tests.models.encoders.test_encoder import tokens_of


@pytest.fixture(scope="module")
def tokens(request, bert):
    """Of the module's `TEXTS`."""
    return tokens_of(bert, request.module.TEXTS, length=12).astype(np.int32)
