"""Python lists to the `Tensor` messages of `serving.asking.wire`, and back.

Only the four dtypes of the served signatures; values travel in typed fields, row-major.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from models.errors import BadInput
from serving.asking.wire import MESSAGES

FLOAT, INT32, STRING, BOOL = 1, 3, 7, 10  # DataType values
_FIELDS = {FLOAT: "float_val", INT32: "int_val", STRING: "string_val", BOOL: "bool_val"}


def _tensor(dtype: int, shape: Sequence[int], values: Sequence[Any]) -> Any:
    tensor = MESSAGES["Tensor"](dtype=dtype)
    tensor.tensor_shape.SetInParent()
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, _FIELDS[dtype]).extend(values)
    return tensor


def scalar(dtype: int, value: Any) -> Any:
    """Tensor [] of one value."""
    return _tensor(dtype, [], [value])


def count(number: int) -> Any:
    """Int32 tensor [], of the nearest number that fits: more than that is everything anyway."""
    return scalar(INT32, max(-(2**31), min(operator.index(number), 2**31 - 1)))


def strings(name: str, texts: Sequence[str], rows: int) -> Any:
    """String tensor [rows]; `name` is for the error where there are not that many."""
    _check_rows(name, texts, rows)
    return _tensor(STRING, [rows], _encoded(name, texts))


def floats(name: str, numbers: Sequence[float], rows: int) -> Any:
    """Float tensor [rows]."""
    _check_rows(name, numbers, rows)
    return _tensor(FLOAT, [rows], numbers)


def padded(name: str, lists: Sequence[Sequence[str]], rows: int) -> Any:
    """String tensor [rows, longest], each list padded with empty strings at its end."""
    _check_rows(name, lists, rows)
    width = max((len(texts) for texts in lists), default=0)
    flat = []
    for texts in lists:
        _check_rows(name, texts, len(texts))
        flat += _encoded(name, texts) + [b""] * (width - len(texts))
    return _tensor(STRING, [rows, width], flat)


def _encoded(name: str, texts: Sequence[str]) -> list[bytes]:
    for text in texts:
        if not isinstance(text, str):
            raise BadInput(f"{name} holds {text!r}, which is no text. Ids are texts, numbers too.")
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{name} holds {error.object!r}, which is no Unicode text; decode it by the encoding"
            " that it was written in."
        ) from error


def _check_rows(name: str, values: Sequence[Any], rows: int) -> None:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list, not a single string")
    if len(values) != rows:
        raise BadInput(f"{name} has {len(values)} entries for {rows} rows; give one for each row.")


def values(tensor: Any) -> list[Any]:
    """All values, flat."""
    return list(getattr(tensor, _FIELDS[tensor.dtype]))


def nested(tensor: Any) -> list[Any]:
    """The values as lists of lists, one list a row."""
    rows = values(tensor)
    if not rows:
        return []
    for dim in reversed(tensor.tensor_shape.dim[1:]):
        rows = [rows[at : at + dim.size] for at in range(0, len(rows), dim.size)]
    return rows
