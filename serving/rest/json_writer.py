"""Writing JSON as the stock server's REST front end does, which is RapidJSON's way.

Four-space indents, arrays on one line where a caller asks for it, decimals of six digits or as many
as read back the same. Clients compare these bodies as text, so the layout is part of the wire.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

_INDENT = " " * 4
_TINY = {np.float32: 2.0**-126, np.float64: 2.0**-1022}
_MAX_FLOAT = 3.4028234e38  # RapidJSON's idea of what a float32 holds


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return "Number"
    if isinstance(value, str):
        return "String"
    return "Array" if isinstance(value, list) else "Object"


def debug_string(value: Any) -> str:
    """A value as error texts quote it: indented, and up to the first NaN or infinity inside it."""
    if _is_double(value):
        number = float(value)
        if abs(number) <= _MAX_FLOAT:
            return decimal(float(np.float32(number)), np.float32)
        return decimal(number)
    writer = PrettyWriter()
    # Too deep for Python is a wrong request: what was written until then tells enough.
    with contextlib.suppress(RecursionError):
        writer.value(value)
    return writer.text()


def decimal(value: float, kind: type[np.float32 | np.float64] = np.float64) -> str:
    """A float32 or float64 (`kind`) as answers hold it: six digits, or as many as read back.

    A denormal is zero.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    value = _flushed(value, _TINY[kind])
    text = f"{value:g}"
    if kind(text) != value:
        text = f"{value:.{9 if kind is np.float32 else 17}g}"
    return text if "." in text or "e" in text else text + ".0"


class PrettyWriter:
    """Writes JSON piece by piece, with RapidJSON's line breaks.

    Attributes:
        single_line: whether arrays stay on one line from here on; objects never do.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.single_line = False
        self._parts: list[str] = []
        self._levels: list[list[int]] = []  # [is array, values so far]

    def text(self) -> str:
        """What was written."""
        return "".join(self._parts)

    def raw(self, token: str) -> None:
        """A number, literal, or quoted string."""
        self._prefix()
        self._put(token)

    def string(self, text: str) -> None:
        """A string, or an object's key."""
        self.raw(quote(text))

    def tokens(self, tokens: list[str]) -> None:
        """A whole array of ready tokens at once, for long ones."""
        self.start("[")
        if tokens and self.single_line:
            self._put(", ".join(tokens))
        elif tokens:
            line = "\n" + _INDENT * len(self._levels)
            self._put(line + ("," + line).join(tokens))
        self._levels[-1][1] = len(tokens)
        self.end("]")

    def start(self, bracket: str) -> None:
        """Opens an object or an array: `{` or `[`."""
        self._prefix()
        self._levels.append([bracket == "[", 0])
        self._put(bracket)

    def end(self, bracket: str) -> None:
        """Closes it: `}` or `]`."""
        is_array, count = self._levels.pop()
        if count and not (is_array and self.single_line):
            self._put("\n" + _INDENT * len(self._levels))
        self._put(bracket)

    def value(self, value: Any) -> bool:
        """Any parsed value; False where a number that JSON lacks ended it."""
        if isinstance(value, dict):
            self.start("{")
            for key, member in value.items():
                self.string(key)
                if not self.value(member):
                    return False
            self.end("}")
        elif isinstance(value, list):
            self.start("[")
            for element in value:
                if not self.value(element):
                    return False
            self.end("]")
        elif isinstance(value, str):
            self.string(value)
        elif isinstance(value, bool) or value is None:
            self.raw({True: "true", False: "false", None: "null"}[value])
        elif isinstance(value, float) and not math.isfinite(value):
            self._prefix()
            return False
        else:
            self.raw(_double(float(value)) if _is_double(value) else str(value))
        return True

    def _prefix(self) -> None:
        if not self._levels:
            return
        level = self._levels[-1]
        is_array, count = level
        level[1] += 1
        line = "\n" + _INDENT * len(self._levels)
        if is_array:
            self._put(", " if count and self.single_line else "," if count else "")
            self._put("" if self.single_line else line)
        elif count % 2:
            self._put(": ")
        else:
            self._put("," + line if count else line)

    def _put(self, text: str) -> None:
        self._parts.append(text)


_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\b"): "\\b",
    ord("\f"): "\\f",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


def quote(text: str) -> str:
    """A JSON string literal."""
    return '"' + text.translate(_ESCAPES) + '"'


def _is_double(value: Any) -> bool:
    """Whether RapidJSON parsed the value as a double: an integer that 64 bits can't hold, too."""
    is_integer = isinstance(value, int) and -(2**63) <= value < 2**64
    return isinstance(value, int | float) and not is_integer


def _flushed(value: float, tiny: float) -> float:
    """The value, or zero of its sign: the stock server's threads flush denormals."""
    return value if abs(value) >= tiny else value * 0.0


def _double(value: float) -> str:
    value = _flushed(value, _TINY[np.float64])
    sign = "-" if math.copysign(1, value) < 0 else ""
    digits, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).strip("0") or "0"
    leading = len(whole + fraction) - len((whole + fraction).lstrip("0"))
    point = len(whole) + int(exponent or 0) - (leading if significant != "0" else 0)
    if significant == "0":
        return sign + "0.0"
    if len(significant) <= point <= 21:
        return sign + significant + "0" * (point - len(significant)) + ".0"
    if 0 < point <= 21:
        return sign + significant[:point] + "." + significant[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + significant
    rest = "." + significant[1:] if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{rest}e{point - 1}"
