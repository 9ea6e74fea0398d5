"""JSON values to tensor values: what `instances` and `inputs` hold, by the input's dtype.

Types are strict, as in the stock server: 3.0 is no int32, "a" no float, and dtypes without a JSON
form (half, complex, uint16) are UNIMPLEMENTED. `{"b64": ...}` stands for a binary string.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import grpc
from tensorflow.core.framework import types_pb2

from serving.rest.json_parser import encode
from serving.rest.json_writer import debug_string, type_name
from serving.runtime.tensors import dtype_name
from serving.status import StatusError, invalid_argument

# As in Abseil: white space counts nowhere, padding is whole or absent, and a full stop does for it.
_BASE64 = re.compile(r"[A-Za-z0-9+/]*")
_SPACES = dict.fromkeys(map(ord, " \t\n\v\f\r"))
# What is smaller does not round to a normal number of its dtype.
_TINY = {types_pb2.DT_FLOAT: 2.0**-126 - 2.0**-151, types_pb2.DT_DOUBLE: 2.0**-1022}
FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}
_INT32 = range(-(2**31), 2**31)
INTEGERS = {
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: range(-(2**63), 2**63),
    types_pb2.DT_UINT32: range(2**32),
    types_pb2.DT_UINT64: range(2**64),
}


class JsonTensor:
    """A tensor while its values are gathered: one element, or one row after another."""

    def __init__(self, info: Any) -> None:
        self.dtype: int = info.dtype
        self.values: list[Any] = []
        self.size: int | None = None
        self.shape: list[int] = []

    def add(self, value: Any) -> tuple[int, list[int]]:
        """Appends a value; returns how many elements it has and its shape."""
        shape = _dense_shape(value)
        before = len(self.values)
        self._fill(value, 0, shape)
        return len(self.values) - before, shape

    def add_row(self, value: Any) -> None:
        """Appends a value that must be like those before it."""
        size, shape = self.add(value)
        if self.size is None:
            self.size, self.shape = size, shape
        elif self.size != size:
            raise invalid_argument(f"Expecting tensor size: {self.size} but got: {size}")
        elif self.shape != shape:
            raise invalid_argument(
                f"Expecting shape {_brackets(self.shape)} but got: {_brackets(shape)}"
            )

    def write(self, proto: Any, shape: list[int]) -> None:
        """Puts the values into a `TensorProto`."""
        proto.dtype = self.dtype
        proto.tensor_shape.SetInParent()
        for size in shape:
            proto.tensor_shape.dim.add().size = size
        if self.values:
            getattr(proto, FIELDS[self.dtype]).extend(self.values)

    def _fill(self, value: Any, level: int, shape: list[int]) -> None:
        rank = len(shape)
        if not isinstance(value, list):
            if level != rank:
                raise invalid_argument(
                    f"JSON Value: {debug_string(value)} found at incorrect level: {level + 1}"
                    f" in the JSON DOM. Expected at level: {rank}"
                )
            self.values.append(self._element(value))
            return
        if level >= rank:
            raise invalid_argument(
                f"Encountered list at unexpected level: {level} expected < {rank}"
            )
        if len(value) != shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {level}"
                f" expected size: {shape[level]}"
            )
        for element in value:
            self._fill(element, level + 1, shape)

    def _element(self, value: Any) -> Any:
        dtype = self.dtype
        if isinstance(value, dict):
            if dtype != types_pb2.DT_STRING:
                raise _type_error(value, dtype)
            return decode_base64(value)
        if dtype not in FIELDS:
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Conversion of JSON Value: {debug_string(value)} to type: {dtype_name(dtype)}",
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if dtype in _TINY:
            if not is_number:
                raise _type_error(value, dtype)
            # The stock server's threads flush denormals to zero.
            return value if abs(value) >= _TINY[dtype] or value != value else value * 0.0
        if dtype in INTEGERS:
            if not (is_number and isinstance(value, int) and value in INTEGERS[dtype]):
                raise _type_error(value, dtype)
            return value
        if dtype == types_pb2.DT_BOOL:
            if not isinstance(value, bool):
                raise _type_error(value, dtype)
            return value
        if not isinstance(value, str):
            raise _type_error(value, dtype)
        return encode(value)


def decode_base64(value: Mapping[str, Any]) -> bytes:
    """The bytes of a `{"b64": ...}` object, in the plain alphabet only."""
    if not is_base64(value):
        raise invalid_argument(
            f"JSON Value: {debug_string(value)} not formatted correctly for base64 data"
        )
    text = value["b64"].translate(_SPACES)
    data = text.rstrip("=.")
    padding = -len(data) % 4
    if not _BASE64.fullmatch(data) or padding == 3 or len(text) - len(data) not in (0, padding):
        raise invalid_argument("Unable to base64 decode")
    return base64.b64decode(data + "=" * padding)


def is_base64(value: Any) -> bool:
    """Whether a value is an object with a string under `b64` and nothing else."""
    is_alone = isinstance(value, dict) and value.keys() == {"b64"} and len(value.items()) == 1
    return is_alone and isinstance(value["b64"], str)


def _type_error(value: Any, dtype: int) -> StatusError:
    return invalid_argument(
        f"JSON Value: {debug_string(value)} Type: {type_name(value)} is not of expected type:"
        f" {dtype_name(dtype)}"
    )


def _dense_shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _brackets(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
