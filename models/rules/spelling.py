"""What counts as the same name, however it is spelt."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """A text in Unicode's form NFC; nobody sees which spelling of an accent it had."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """A text without regard to case, and to spaces around it."""
    return composed(text).strip().casefold()
