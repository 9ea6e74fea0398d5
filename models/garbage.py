"""Python looks for garbage seldom where a great many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# New objects until the young ones are looked at, and how often these are before older ones are.
_SELDOM: Final = (100_000, 50, 100)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for garbage seldom while graphs or libraries are made or loaded.

    Each is hundreds of thousands of objects that stay. Every few hundred of them Python would look
    for garbage, and every now and then go through all objects of all libraries.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
