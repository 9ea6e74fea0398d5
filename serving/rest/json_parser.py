"""Parsing a REST body as the stock server does, which is RapidJSON's way.

Equal keys stay, NaN and Infinity are numbers, and errors carry RapidJSON's text and byte offset.
What the standard library reads alike it parses; the rest is `rapid_json`'s.
"""

from __future__ import annotations

import json
import re
from typing import Any

from serving.rest import rapid_json
from serving.rest.json_writer import debug_string
from serving.status import StatusError, invalid_argument

# RapidJSON takes each of the mark's bytes by itself.
_BYTE_ORDER_MARK = re.compile(rb"\xef?\xbb?\xbf?")
# Three digits of exponent, or more digits than a double has: numbers that may be too big.
_MAYBE_TOO_BIG = (b"0e000", b"0e+000", b"0" * 309)
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONE_HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body.

    Bytes that are no UTF-8 survive as surrogate escapes; `encode` gives them back.

    Raises:
        StatusError: INVALID_ARGUMENT, in the stock server's words.
    """
    if not body:
        raise _parse_error("The document is empty")
    read = body.partition(b"\0")[0]  # to RapidJSON that is the end
    mark = _BYTE_ORDER_MARK.match(read)
    skipped = mark.end() if mark else 0
    text = read[skipped:].decode("utf-8", "surrogateescape")
    try:
        value = _parse(text, is_plain=_is_plain(read))
    except rapid_json.Malformed as error:
        offset = skipped + len(encode(text[: error.at]))
        raise _parse_error(f"{error} at offset: {offset}") from error
    except RecursionError as error:
        raise _parse_error("The document is nested too deeply.") from error
    if not isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {debug_string(value)} Is not object")
    return value


def encode(text: str) -> bytes:
    """A string of a parsed document as the bytes it stands for."""
    return text.encode("utf-8", "surrogateescape")


def _is_plain(body: bytes) -> bool:
    """Whether the standard library refuses all that RapidJSON refuses; quick on large bodies."""
    alike = body.translate(_DIGITS_ALIKE)
    if any(digits in alike for digits in _MAYBE_TOO_BIG):
        return False
    may_have_halves = b"\\ud" in body or b"\\uD" in body
    return not (may_have_halves and _LONE_HALF.search(body))


def _parse(text: str, *, is_plain: bool) -> Any:
    if is_plain:
        try:
            return json.loads(text, object_pairs_hook=rapid_json.to_object)
        except json.JSONDecodeError:
            pass  # RapidJSON says why in other words, or reads it after all
    return rapid_json.parse(text)


def _parse_error(text: str) -> StatusError:
    return invalid_argument(f"JSON Parse error: {text}")
