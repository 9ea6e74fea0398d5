"""`TensorProto` to numpy and back, by the rules of TensorFlow's own parser.

Read: `tensor_content` wins over the typed fields; too few typed values repeat the last one, none
give zeros, too many are cut. Written: typed fields only, as the stock server does.
`tf.make_ndarray` differs from the runtime in several of these, so it is not used.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.resource_handle_pb2 import ResourceHandleProto
from tensorflow.core.framework.tensor_pb2 import TensorProto, VariantTensorDataProto

_MAX_DECODED_BYTES = 2**31 - 1  # of one tensor; no gRPC message can hold more
_MAX_RANK = 254  # TensorFlow's
_MAX_ARRAY_RANK = 32  # numpy's


class TensorError(ValueError):
    """A `TensorProto` that the runtime would not parse; the caller knows the input's name."""


class _Kind(NamedTuple):
    """How one dtype lies in a proto: numpy dtype, typed field, and the dtype of that field."""

    numpy: Any
    field: str
    wire: Any


_KINDS: dict[int, _Kind] = {
    types_pb2.DT_FLOAT: _Kind(np.float32, "float_val", np.float32),
    types_pb2.DT_DOUBLE: _Kind(np.float64, "double_val", np.float64),
    types_pb2.DT_INT32: _Kind(np.int32, "int_val", np.int32),
    types_pb2.DT_UINT8: _Kind(np.uint8, "int_val", np.int32),
    types_pb2.DT_INT16: _Kind(np.int16, "int_val", np.int32),
    types_pb2.DT_INT8: _Kind(np.int8, "int_val", np.int32),
    types_pb2.DT_STRING: _Kind(np.object_, "string_val", np.object_),
    types_pb2.DT_COMPLEX64: _Kind(np.complex64, "scomplex_val", np.float32),
    types_pb2.DT_INT64: _Kind(np.int64, "int64_val", np.int64),
    types_pb2.DT_BOOL: _Kind(np.bool_, "bool_val", np.bool_),
    types_pb2.DT_BFLOAT16: _Kind(ml_dtypes.bfloat16, "half_val", np.int32),
    types_pb2.DT_UINT16: _Kind(np.uint16, "int_val", np.int32),
    types_pb2.DT_COMPLEX128: _Kind(np.complex128, "dcomplex_val", np.float64),
    types_pb2.DT_HALF: _Kind(np.float16, "half_val", np.int32),
    types_pb2.DT_UINT32: _Kind(np.uint32, "uint32_val", np.uint32),
    types_pb2.DT_UINT64: _Kind(np.uint64, "uint64_val", np.uint64),
}

ARRAYLESS: Final[dict[int, Any]] = {
    types_pb2.DT_QINT8: 1,
    types_pb2.DT_QUINT8: 1,
    types_pb2.DT_QINT16: 2,
    types_pb2.DT_QUINT16: 2,
    types_pb2.DT_QINT32: 4,
    types_pb2.DT_INT4: 1,
    types_pb2.DT_UINT4: 1,
    types_pb2.DT_FLOAT8_E5M2: 1,
    types_pb2.DT_FLOAT8_E4M3FN: 1,
    types_pb2.DT_RESOURCE: ResourceHandleProto,
    types_pb2.DT_VARIANT: VariantTensorDataProto,
}
"""Dtypes that parse but are not fed here: how many bytes an element has, or what message it is."""

# Tag bytes (field number, length-delimited) of the packed fields whose values lie in the message
# exactly as in memory: those are written with one copy instead of one Python float a value.
_PACKED_TAG = {
    types_pb2.DT_FLOAT: b"\x2a",  # float_val = 5
    types_pb2.DT_DOUBLE: b"\x32",  # double_val = 6
}


_RUNTIME_NAMES = {
    types_pb2.DT_FLOAT: "float",
    types_pb2.DT_DOUBLE: "double",
    types_pb2.DT_HALF: "half",
}


def dtype_name(dtype: int) -> str:
    """The C++ runtime's name of a `DataType` enum value, as its error texts have it."""
    name: str = types_pb2.DataType.Name(dtype)
    return _RUNTIME_NAMES.get(dtype) or name.removeprefix("DT_").lower()


def to_array(proto: TensorProto) -> np.ndarray[Any, Any]:
    """The tensor as an array of the proto's shape; strings are an object array of bytes.

    Raises:
        TensorError: where TensorFlow's `Tensor::FromProto` refuses, or there can be no such array.
    """
    kind = _KINDS.get(proto.dtype)
    if kind is None:
        raise TensorError(f"no array form for dtype {proto.dtype}")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = _count(shape)
    # Zeros left out: an empty tensor may have sizes that numpy has no array for.
    extent = math.prod(size for size in shape if size) * np.dtype(kind.numpy).itemsize
    if len(shape) > _MAX_ARRAY_RANK or extent >= 2**63:
        raise TensorError(f"no array has shape {shape}")
    if count * np.dtype(kind.numpy).itemsize > _MAX_DECODED_BYTES:
        raise TensorError(f"shape {shape} is too large")
    if count and proto.tensor_content:
        return _from_content(proto.tensor_content, kind, count).reshape(shape)
    return _from_values(getattr(proto, kind.field), kind, count).reshape(shape)


def check_arrayless(proto: TensorProto) -> None:
    """Raises as `to_array` does, for one of the dtypes in `ARRAYLESS`."""
    count = _count([dim.size for dim in proto.tensor_shape.dim])
    if count and proto.tensor_content:
        element = ARRAYLESS[proto.dtype]
        if isinstance(element, int):
            _check_size(proto.tensor_content, count * element)
        else:
            _check_messages(_decode_strings(proto.tensor_content, count), element)


def _count(shape: list[int]) -> int:
    """Elements of a shape, multiplied one by one: a zero saves only what comes after it."""
    count = 1
    for size in shape:
        count *= size
        if size < 0 or count >= 2**63:
            raise TensorError(f"bad shape {shape}")
    if len(shape) > _MAX_RANK:
        raise TensorError(f"{len(shape)} dimensions")
    return count


def _check_size(content: bytes, size: int) -> None:
    if len(content) != size:
        raise TensorError("tensor_content has another size than the shape")


def _check_messages(elements: list[bytes], message: Any) -> None:
    try:
        for element in elements:
            message.FromString(element)
    except DecodeError as error:
        raise TensorError("tensor_content holds no such messages") from error


def _from_content(content: bytes, kind: _Kind, count: int) -> np.ndarray[Any, Any]:
    if kind.numpy is np.object_:
        return _object_array(_decode_strings(content, count))
    _check_size(content, count * np.dtype(kind.numpy).itemsize)
    if kind.numpy is np.bool_ and np.frombuffer(content, np.uint8).max() > 1:
        raise TensorError("tensor_content holds more than true and false")
    return np.frombuffer(content, kind.numpy)


def _from_values(values: Any, kind: _Kind, count: int) -> np.ndarray[Any, Any]:
    per_element = 2 if kind.numpy in (np.complex64, np.complex128) else 1
    given = min(len(values) // per_element, count)
    if kind.numpy is np.object_:
        filler = values[given - 1] if given else b""
        return _object_array([*values[:given], *[filler] * (count - given)])
    if given == 0:
        return np.zeros(count, kind.numpy)
    taken = np.fromiter(values, kind.wire, given * per_element)
    flat: np.ndarray[Any, Any]
    if per_element == 2:
        flat = taken.view(kind.numpy)
    elif kind.field == "half_val":
        flat = taken.astype(np.uint16).view(kind.numpy)
    else:
        flat = taken.astype(kind.numpy, copy=False)
    if given < count:
        flat = np.concatenate([flat, np.full(count - given, flat[-1], kind.numpy)])
    return flat


def _object_array(values: list[bytes]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array


def _decode_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content`: all lengths as varints, then all the bytes."""
    lengths, at = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if at >= len(content) or shift > 28:
                raise TensorError("tensor_content holds no string lengths")
            byte = content[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise TensorError("tensor_content has another size than its strings")
    strings = []
    for length in lengths:
        strings.append(content[at : at + length])
        at += length
    return strings


def fill_proto(proto: TensorProto, value: Any, dtype: int) -> None:
    """Writes a value that the runtime returned into an empty proto, in typed fields.

    Args:
        proto: the message to fill.
        value: array or scalar; strings as bytes.
        dtype: `DataType` enum value of the graph's output.

    Raises:
        TensorError: for a dtype that no message can hold (resource, variant).
    """
    kind = _KINDS.get(dtype)
    if kind is None:
        raise TensorError(f"no message form for dtype {dtype}")
    proto.dtype = dtype
    if isinstance(value, bytes):
        proto.tensor_shape.SetInParent()
        proto.string_val.append(value)
        return
    array = np.asarray(value)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.size == 0:
        return
    tag = _PACKED_TAG.get(dtype)
    if tag is not None:
        data = array.tobytes()
        proto.MergeFromString(tag + _varint(len(data)) + data)
        return
    flat = array.reshape(-1)
    if kind.field == "half_val":
        flat = flat.view(np.uint16)
    elif kind.numpy in (np.complex64, np.complex128):
        flat = flat.view(kind.wire)
    getattr(proto, kind.field).extend(flat.tolist())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
