"""Numeric work in parts, a part on each processor, or beside Python code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Part = TypeVar("Part")
Result = TypeVar("Result")
Made = TypeVar("Made")


def on_all_processors(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """What a function of arrays gives of each part, in the order of the parts.

    NumPy and SciPy let other threads run while they compute. BLAS gets one thread for each part:
    threads of its own wait for one another at each call, on a busy machine a hundred times as long
    as the call takes. The results do not depend on how many processors there are.

    Raises:
        Whatever the function does.
    """
    with (
        _libraries().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(_processors()) as pool,
    ):
        return list(pool.map(function, parts))


def beside(compute: Callable[[], Result], make: Callable[[], Made]) -> tuple[Result, Made]:
    """What two functions give: one of arrays, in a thread, and one of Python code, in this one.

    Python code, such as what traces a graph, keeps one processor busy. BLAS is left the others.

    Raises:
        Whatever one of them does, when both have ended.
    """
    with (
        _libraries().limit(limits=max(_processors() - 1, 1), user_api="blas"),
        ThreadPoolExecutor(1) as pool,
    ):
        computed = pool.submit(compute)
        made = make()
        return computed.result(), made


def _processors() -> int:
    return len(os.sched_getaffinity(0))


@cache
def _libraries() -> ThreadpoolController:
    """Looking for them takes 20 ms."""
    return ThreadpoolController()
