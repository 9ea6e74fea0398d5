import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from models.threads import beside, on_all_processors


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


@pytest.mark.parametrize(("processors", "left"), [(1, 1), (2, 1), (3, 2)])
def test_python_code_goes_on_beside_arrays_and_keeps_a_processor(processors, left, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    before, has_begun = blas_threads(), threading.Event()

    def compute():
        assert has_begun.wait(10)  # or the other would only begin when this has ended
        return threading.current_thread(), blas_threads()

    def make():
        has_begun.set()
        return threading.current_thread()

    (thread, threads), maker = beside(compute, make)
    assert maker is threading.current_thread()
    assert thread is not maker
    # Of a library that was built without threads there is one in any case.
    assert max(threads) == min(left, max(before))
    assert blas_threads() == before


@pytest.mark.parametrize("which", ["compute", "make"])
def test_what_either_of_two_raises_is_raised(which):
    def fail():
        raise np.linalg.LinAlgError

    before = blas_threads()
    given = {"compute": int, "make": int} | {which: fail}
    with pytest.raises(np.linalg.LinAlgError):
        beside(**given)
    assert blas_threads() == before
