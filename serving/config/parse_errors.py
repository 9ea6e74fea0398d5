"""`told`: an error of Python's text-proto parser in the words of C++, which scripts look for.

The common ones: a field that is not there, something else than a name or a whole number. The others
keep Python's words, without the line that it quotes.
"""

from __future__ import annotations

import re
from typing import Final

from google.protobuf.text_format import ParseError

_QUOTED_LINE: Final = re.compile(r"\A'.*?': (?=Expected|Couldn't|Value|Enum|String)", re.DOTALL)
_UNKNOWN_FIELD: Final = re.compile(r'Message type "[^"]*" has no field named "[^"]*"\.')
# The name of a field, and what the parser passes over to the token after it.
_TO_NEXT_TOKEN: Final = re.compile(r"\w+(?:\s|#[^\n]*)*")
_REWORDED: Final = (
    (re.compile(r"Expected identifier or number, got (.*)\."), r"Expected identifier, got: \1"),
    (re.compile(r"Couldn't parse integer: (.*)"), r"Expected integer, got: \1"),
)


def told(error: ParseError, text: str) -> str:
    """Line, column and what is wrong there.

    Args:
        error: of the parser.
        text: that it read.
    """
    line, column = error.GetLine(), error.GetColumn()
    message = str(error).removeprefix(f"{line}:{column} : ")
    if line and column and _UNKNOWN_FIELD.fullmatch(message):
        line, column = _next_token(text, line, column)
    message = _QUOTED_LINE.sub("", message)
    for pattern, words in _REWORDED:
        message = pattern.sub(words, message)
    return f"{line}:{column}: {message}"


def _next_token(text: str, line: int, column: int) -> tuple[int, int]:
    """Where the token after a name is, which is where the C++ parser finds the name wrong."""
    start = sum(map(len, text.splitlines(keepends=True)[: line - 1])) + column - 1
    name = _TO_NEXT_TOKEN.match(text, start)
    before = text[: name.end() if name else start]
    return before.count("\n") + 1, len(before) - before.rfind("\n")
