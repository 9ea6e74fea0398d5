"""What is wrong with a file that people write, in words."""

from __future__ import annotations

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """Each fault with its place and its value, a sentence each."""
    problems = []
    for fault in error.errors():
        place, value = ".".join(map(str, fault["loc"])), fault["input"]
        # Of a section or a list, only the fault is shown.
        shown = place if isinstance(value, dict | list | tuple) else f"{place} is {value!r}"
        message = f"{fault['msg'].removeprefix('Value error, ')}."
        # What concerns several sections has no place of its own.
        problems.append(f"{shown}: {message}" if shown else message)
    return " ".join(problems)
