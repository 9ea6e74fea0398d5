"""What counts as the same name, however it is spelt."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """A text in Unicode's form NFC; nobody sees which spelling of an accent it had."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """A text without regard to case, and to spaces around it."""
    return composed(text).strip().casefold()


def category_path(category: str, separator: str) -> list[str]:
    """A category and those that its text spells above it, the nearest first, as they are compared.

    Empty where the text names none.
    """
    steps = [step for step in map(folded, category.split(separator)) if step]
    return [separator.join(steps[:end]) for end in range(len(steps), 0, -1)]
