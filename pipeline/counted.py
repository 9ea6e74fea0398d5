"""How many there are of something, in words that fit one as well as many."""

from collections.abc import Sequence
from typing import Final

_MOST: Final = 3


def counted(number: int, one: str, many: str) -> str:
    """Such as "1 item is" or "2,000 items are"."""
    return f"{number:,} {one if number == 1 else many}"


def most_counted(counts: Sequence[tuple[str, int]], *, others: str = "others") -> str:
    """What there is most of, such as "empty id (900); too long (60); one (9); others (15)".

    Args:
        counts: what there is, and how many of it; most first.
        others: what the rest is called.
    """
    told = [f"{name} ({count:,})" for name, count in counts[:_MOST]]
    if more := sum(count for _, count in counts[_MOST:]):
        told.append(f"{others} ({more:,})")
    return "; ".join(told)
