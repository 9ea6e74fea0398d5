"""What every test stands on: Keras 2, quiet TensorFlow, property tests without a clock."""

import ctypes
import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import models as models  # isort: skip  # selects Keras 2 before anything imports TensorFlow
import pytest
from hypothesis import settings

from tests.scheduling import Scheduling, turn
from tests.tiny_bert import write_tiny_bert

# A slow machine is no counterexample, and CI must give the same verdict twice.
settings.register_profile("debut", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("debut")

# What TensorFlow traces are a million objects that stay; to look for garbage among them again and
# again takes a twentieth of the time. It is looked for after each file instead.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="module", autouse=True)
def no_memory_from_the_file_before():
    """Models and graphs are cycles; kept, those of all files fill the memory of a laptop."""
    yield
    gc.collect()
    gc.freeze()  # what is left stays, and is not looked at again
    ctypes.CDLL(None).malloc_trim(0)  # glibc would keep the freed pages


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A tiny uncased BERT."""
    # Here, because most tests need no TensorFlow.
    from models.encoders.folder import open_encoder

    return open_encoder(str(write_tiny_bert(tmp_path_factory.mktemp("bert"))))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """For `--dist loadfile`, as `make test` has it."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items):
    """Files that take long come first; the order within a file stays."""
    items.sort(key=lambda item: turn(item.nodeid))
