"""How many there are of something, in words that fit one as well as many."""


def counted(number: int, one: str, many: str) -> str:
    """Such as "1 item is" or "2,000 items are"."""
    return f"{number:,} {one if number == 1 else many}"
