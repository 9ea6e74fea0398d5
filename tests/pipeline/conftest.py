import os
from unittest import mock

import pytest


@pytest.fixture(autouse=True)
def _environment():
    """Commands quieten libraries through variables, for their process and its children."""
    with mock.patch.dict(os.environ):
        yield
