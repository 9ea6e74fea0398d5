"""Parsing a REST body as the stock server does, which is RapidJSON's way.

The first of equal keys counts, NaN and Infinity are numbers, and errors carry RapidJSON's text and
byte offset. The parsing itself is the standard library's.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from serving.json_writer import debug_string
from serving.status import StatusError, invalid_argument

_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Extra data": "The document root must not be followed by other values.",
}
_LITERALS = ("null", "true", "false", "NaN", "Infinity")
_MAYBE_TOO_BIG = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{309}")
_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body.

    Bytes that are no UTF-8 survive as surrogate escapes; `encode` gives them back.

    Raises:
        StatusError: INVALID_ARGUMENT, in the stock server's words.
    """
    if not body:
        raise _parse_error("The document is empty")
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if not text.strip():
        raise _parse_error(f"The document is empty. at offset: {len(body)}")
    if _MAYBE_TOO_BIG.search(text):
        _check_numbers(text)
    try:
        value = json.loads(text, object_pairs_hook=_first_wins)
    except json.JSONDecodeError as error:
        raise _parse_error(_rapidjson_text(error)) from error
    except RecursionError as error:
        raise _parse_error("The document is nested too deeply.") from error
    if not isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {debug_string(value)} Is not object")
    return value


def encode(text: str) -> bytes:
    """A string of a parsed document as the bytes it stands for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _parse_error("The surrogate pair in string is invalid.") from error


def _parse_error(text: str) -> StatusError:
    return invalid_argument(f"JSON Parse error: {text}")


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        members = {}
        for key, value in pairs:
            members.setdefault(key, value)
    return members


def _check_numbers(text: str) -> None:
    for match in _STRING_OR_NUMBER.finditer(text):
        token = match.group()
        if token[0] == '"':
            continue
        try:
            too_big = math.isinf(float(token))
        except ValueError:
            continue  # not a number at all: the parser says where
        if too_big:
            offset = len(encode(text[: match.start()]))
            raise _parse_error(f"Number too big to be stored in double. at offset: {offset}")


def _rapidjson_text(error: json.JSONDecodeError) -> str:
    text, at = error.doc, error.pos
    message = _PARSE_ERRORS.get(error.msg, "Invalid value.")
    if error.msg == "Expecting ',' delimiter":
        message = (
            "Missing a comma or } after an object member."
            if _innermost_bracket(text[:at]) == "{"
            else "Missing a comma or ] after an array element."
        )
    elif error.msg == "Expecting value":
        # RapidJSON stops inside a literal, at the first letter that does not fit.
        at += max((_common_prefix(text[at:], literal) for literal in _LITERALS), default=0)
    elif error.msg == "Unterminated string starting at":
        at = len(text)
    return f"{message} at offset: {len(text[:at].encode('utf-8', 'surrogateescape'))}"


def _innermost_bracket(text: str) -> str:
    open_brackets = []
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match.group()
        if token in "[{":
            open_brackets.append(token)
        elif token in "]}" and open_brackets:
            open_brackets.pop()
    return open_brackets[-1] if open_brackets else "["


def _common_prefix(text: str, literal: str) -> int:
    count = 0
    while count < min(len(text), len(literal)) and text[count] == literal[count]:
        count += 1
    return count
