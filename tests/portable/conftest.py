import pytest

from tests.portable.pool import worker_pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with worker_pool(tmp_path_factory.mktemp("pool") / "log") as running:
        yield running
