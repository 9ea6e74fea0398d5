"""What is wrong with a file or a folder that people give, in words."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from models.errors import BadInput


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


def require_folder(path: Path, what: str) -> None:
    """Raise BadInput where no folder is, or a file; `what` it should be is for the message."""
    if not path.is_dir():
        fault = "is a file" if path.exists() else "does not exist"
        raise BadInput(f"The {what} {path} {fault}. Give the path of a folder.")
