"""`parse`: JSON as RapidJSON 1.1.0 reads it, the stock server's parser, errors and places included.

The standard library is many times faster and reads nearly everything alike; this is for the rest.
Not alike is the last bit of a double: RapidJSON's sometimes is the neighbouring one.
"""

from __future__ import annotations

import re
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_UNESCAPED = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_HEX = re.compile(r"[0-9A-Fa-f]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS = {"n": ("null", None), "t": ("true", True), "f": ("false", False)}
_MAX_EXPONENT = 308
_MAX_BEFORE_A_DIGIT = 1.7976931348623157e307

_Read = tuple[Any, int]  # a value, and the place behind it


class Repeated(dict[str, Any]):
    """An object in which keys repeat: the first one is found, and `items` has them all."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        """Keeps the members in their order."""
        super().__init__(reversed(members))
        self._members = members

    def items(self) -> Any:
        """Every member."""
        return self._members


class Malformed(Exception):
    """The text is no JSON; the message says why, `at` is the character where."""

    def __init__(self, message: str, at: int) -> None:
        """Keeps both."""
        super().__init__(message)
        self.at = at


def parse(text: str) -> Any:
    """The value of a text; an object is what `to_object` makes of its members.

    Bytes that are no UTF-8 are surrogate escapes, before and after.

    Raises:
        Malformed: RapidJSON would refuse it.
        RecursionError: it is nested too deeply for Python.
    """
    start = _skip(text, 0)
    if start == len(text):
        raise Malformed("The document is empty.", start)
    value, at = _value(text, start)
    at = _skip(text, at)
    if at < len(text):
        raise Malformed("The document root must not be followed by other values.", at)
    return value


def to_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of its members."""
    found = dict(members)
    return found if len(found) == len(members) else Repeated(members)


def c_string(text: str) -> str:
    """A text as C takes it where its length is not given: up to the first zero."""
    return text.partition("\0")[0]


def _skip(text: str, at: int) -> int:
    return _end(_SPACE, text, at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _value(text: str, at: int) -> _Read:
    first = text[at : at + 1]
    if first == "{":
        return _object(text, at + 1)
    if first == "[":
        return _array(text, at + 1)
    if first == '"':
        return _string(text, at + 1)
    if first in _LITERALS:
        word, value = _LITERALS[first]
        return value, _expect(text, at, word)
    return _number(text, at)


def _expect(text: str, at: int, word: str) -> int:
    """The place behind a word that has to be here."""
    for letter in word:
        if text[at : at + 1] != letter:
            raise Malformed("Invalid value.", at)
        at += 1
    return at


def _object(text: str, at: int) -> _Read:
    members: list[tuple[str, Any]] = []
    at = _skip(text, at)
    if text[at : at + 1] == "}":
        return {}, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise Malformed("Missing a name for object member.", at)
        name, at = _string(text, at + 1)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise Malformed("Missing a colon after a name of object member.", at)
        value, at = _value(text, _skip(text, at + 1))
        members.append((name, value))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return to_object(members), at + 1
        if text[at : at + 1] != ",":
            raise Malformed("Missing a comma or '}' after an object member.", at)
        at = _skip(text, at + 1)


def _array(text: str, at: int) -> _Read:
    elements: list[Any] = []
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return elements, at + 1
    while True:
        value, at = _value(text, at)
        elements.append(value)
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return elements, at + 1
        if text[at : at + 1] != ",":
            raise Malformed("Missing a comma or ']' after an array element.", at)
        at = _skip(text, at + 1)


def _string(text: str, at: int) -> _Read:
    parts: list[str] = []
    while True:
        end = _end(_UNESCAPED, text, at)
        parts.append(text[at:end])
        if end == len(text):
            raise Malformed("Missing a closing quotation mark in string.", end)
        if text[end] == '"':
            return "".join(parts), end + 1
        # A control character gets the message of a wrong escape.
        escaped = text[end + 1 : end + 2] if text[end] == "\\" else ""
        if escaped == "u":
            letter, at = _code_point(text, end)
            parts.append(letter)
        elif escaped in _ESCAPES:
            parts.append(_ESCAPES[escaped])
            at = end + 2
        else:
            raise Malformed("Invalid escape character in string.", end)


def _code_point(text: str, at: int) -> tuple[str, int]:
    r"""The character of the `\u` escape that starts here, with its second half where it has one."""
    code, end = _hex(text, at, at)
    if 0xD800 <= code < 0xDC00:
        wrong = Malformed("The surrogate pair in string is invalid.", at)
        if text[end : end + 2] != "\\u":
            raise wrong
        low, end = _hex(text, end, at)
        if not 0xDC00 <= low < 0xE000:
            raise wrong
        code = 0x10000 + ((code - 0xD800) << 10 | low - 0xDC00)
    # A lone second half is written as if it were a character: three bytes that are no UTF-8.
    return chr(code).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"), end


def _hex(text: str, at: int, escape: int) -> tuple[int, int]:
    match = _HEX.match(text, at + 2)
    if not match:
        raise Malformed("Incorrect hex digit after \\u escape in string.", escape)
    return int(match.group(), 16), match.end()


def _number(text: str, start: int) -> _Read:
    at = start + text.startswith("-", start)
    sign = -1.0 if at > start else 1.0
    if text[at : at + 1] == "N":
        return float("nan"), _expect(text, at, "NaN")
    if text[at : at + 1] == "I":
        at = _expect(text, at, "Inf")
        end = _expect(text, at, "inity") if text[at : at + 1] == "i" else at
        return sign * float("inf"), end
    whole = at + 1 if text[at : at + 1] == "0" else _end(_DIGITS, text, at)
    if whole == at:
        raise Malformed("Invalid value.", at)
    too_big = Malformed("Number too big to be stored in double.", start)
    if float(text[at : whole - 1] or 0) >= _MAX_BEFORE_A_DIGIT:
        raise too_big
    end, fraction = whole, 0
    if text[end : end + 1] == ".":
        end = _end(_DIGITS, text, whole + 1)
        fraction = end - whole - 1
        if not fraction:
            raise Malformed("Miss fraction part in number.", end)
    if text[end : end + 1] in ("e", "E"):
        digits = end + 1 + (text[end + 1 : end + 2] in ("+", "-"))
        is_negative = text[end + 1 : end + 2] == "-"
        end = _end(_DIGITS, text, digits)
        if end == digits:
            raise Malformed("Miss exponent in number.", end)
        # The exponent alone decides: 0e309 is refused, and 10e308 is infinite.
        if not is_negative and float(text[digits:end]) > _MAX_EXPONENT + fraction:
            raise too_big
    token = text[start:end]
    return (int(token) if end == whole else float(token)), end
