"""Why rows were set aside, in a few words."""

from collections.abc import Sequence
from typing import Final

_MOST: Final = 3


def in_words(reason: str, column: str) -> str:
    """Such as "price: not a number"; the column is empty where the whole row is at fault."""
    return ": ".join(filter(None, (column, reason)))


def most_told(told: Sequence[tuple[str, int]], *, others: str = "others") -> str:
    """What there is most of, such as "empty id (900); too long (60); one (9); others (15)".

    Args:
        told: what a reason is told as, and for how many rows; most first.
        others: what the rest is called.
    """
    words = [text for text, _ in told[:_MOST]]
    if more := sum(count for _, count in told[_MOST:]):
        words.append(f"{others} ({more:,})")
    return "; ".join(words)
