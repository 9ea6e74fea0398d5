import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from models.threads import on_all_processors


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.mark.parametrize("processors", [1, 3])
def test_results_come_in_order_and_blas_has_one_thread_meanwhile(processors, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    before = blas_threads()
    found = on_all_processors(lambda part: (part, blas_threads()), range(5))
    assert found == [(part, {1}) for part in range(5)]
    assert blas_threads() == before


def test_what_a_part_raises_is_raised_and_blas_gets_its_threads_back():
    before = blas_threads()
    with pytest.raises(np.linalg.LinAlgError):
        on_all_processors(np.linalg.inv, [np.eye(2), np.zeros((2, 2))])
    assert blas_threads() == before
