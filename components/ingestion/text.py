"""What text may hold, and how text that may not is shown.

Text comes decoded with `surrogateescape`: a byte that is not UTF-8 stands as U+DC80 to U+DCFF.
"""

import re
from typing import Final

from components.ingestion.csv_table import NUL

# Tabs and line ends are part of text. Format characters (joiners, direction marks) are too: emoji,
# Arabic and Indic scripts need them.
_FORBIDDEN: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_FORBIDDEN_IN_ID: Final = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_BYTE: Final = re.compile("[\udc80-\udcff]")
_SHOWN_CHARACTERS: Final = 80

NOT_UTF8: Final = "not UTF-8"
CONTROL_CHARACTER: Final = "control character"


def fault(value: str, *, is_id: bool = False) -> str | None:
    """Returns why the text is refused, or None."""
    if (_FORBIDDEN_IN_ID if is_id else _FORBIDDEN).search(value) is None:
        return None
    return NOT_UTF8 if _BYTE.search(value) else CONTROL_CHARACTER


def shown(value: str) -> str:
    r"""Returns at most 80 characters, with bytes that are not UTF-8 as `\xe9`."""
    cut = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
    escaped = _BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", cut.replace(NUL, "\0"))
    return escaped.encode("utf-8", "backslashreplace").decode()
