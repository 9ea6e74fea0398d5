import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.runtime.tensors import (
    ARRAYLESS,
    TensorError,
    check_arrayless,
    dtype_name,
    fill_proto,
    to_array,
)

DTYPES = (
    tf.float32, tf.float64, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32,
    tf.uint64, tf.float16, tf.bfloat16, tf.bool, tf.complex64, tf.complex128,
)  # fmt: skip


def runtime_parse(proto):
    """TensorFlow's own `Tensor::FromProto`, the oracle."""
    return tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_written_proto_is_read_back_by_the_runtime_and_by_us(dtype):
    value = tf.cast(tf.constant([[0, 1, 2], [3, 100, 7]]), dtype).numpy()
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, value, dtype.as_datatype_enum)
    assert not proto.tensor_content
    np.testing.assert_array_equal(runtime_parse(proto), value)
    np.testing.assert_array_equal(to_array(proto), value)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_tensor_content_is_read(dtype):
    value = tf.cast(tf.constant([[0, 1], [2, 90]]), dtype).numpy()
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_content=value.tobytes())
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    np.testing.assert_array_equal(to_array(proto), value)


def test_strings_keep_every_byte_and_scalars_have_a_shape():
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, b"\xff\x00", types_pb2.DT_STRING)
    assert proto.HasField("tensor_shape")
    assert to_array(proto).item() == b"\xff\x00" == runtime_parse(proto)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), max_size=30),
)
def test_any_number_of_typed_floats_is_read_as_the_runtime_reads_it(shape, values):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    np.testing.assert_array_equal(to_array(proto), runtime_parse(proto))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4), st.lists(st.binary(max_size=200), max_size=6))
def test_any_number_of_typed_strings_is_read_as_the_runtime_reads_it(size, values):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    proto.tensor_shape.dim.add(size=size)
    assert to_array(proto).tolist() == runtime_parse(proto).tolist()


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 3), st.binary(min_size=1, max_size=12))
def test_string_content_is_accepted_exactly_where_the_runtime_accepts_it(size, content):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_content=content)
    proto.tensor_shape.dim.add(size=size)
    try:
        expected = runtime_parse(proto).tolist()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(TensorError):
            to_array(proto)
    else:
        assert to_array(proto).tolist() == expected


SIZES = ([2], [0], [-1], [0, -1], [2**40, 2**40], [2**62, 4, 0], [1] * 255)
BEYOND_NUMPY = [0, 2**62, 4]
CONTENTS = (b"", b"\0", b"\0\0", b"\0\1", b"\1\2", b"\0" * 3, b"\1" * 4, b"\2\0\x12\0", b"a" * 8)


@pytest.mark.parametrize("dtype", [types_pb2.DT_BOOL, *ARRAYLESS], ids=types_pb2.DataType.Name)
def test_proto_is_refused_exactly_where_the_runtime_refuses_it(dtype):
    shapes = [*SIZES, BEYOND_NUMPY] if dtype in ARRAYLESS else SIZES
    for sizes, content in itertools.product(shapes, CONTENTS):
        proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
        for size in sizes:
            proto.tensor_shape.dim.add(size=size)
        try:
            tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(dtype))
            expected: Any = nullcontext()
        except tf.errors.InvalidArgumentError:
            expected = pytest.raises(TensorError)
        with expected:
            (check_arrayless if dtype in ARRAYLESS else to_array)(proto)


@pytest.mark.parametrize("dtype", [*DTYPES, tf.string], ids=lambda dtype: dtype.name)
def test_content_of_an_empty_tensor_is_not_looked_at(dtype):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_content=b"abc")
    proto.tensor_shape.dim.add(size=0)
    np.testing.assert_array_equal(to_array(proto), runtime_parse(proto))


@pytest.mark.parametrize(
    "proto",
    [
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT_REF),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=b"123"),
    ],
    ids=["no dtype", "reference", "content of a wrong size"],
)
def test_unparsable_proto_is_refused(proto):
    with pytest.raises(TensorError):
        to_array(proto)


@pytest.mark.parametrize("sizes", [[-1], [2**40, 2**40], [1] * 40, [0, 2**62]])
def test_impossible_shape_is_refused_before_memory_is_taken(sizes):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0])
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(TensorError):
        to_array(proto)


def test_dtype_names_are_the_runtimes():
    names = [dtype_name(getattr(types_pb2, f"DT_{n}")) for n in ("FLOAT", "HALF", "INT32", "BOOL")]
    assert names == ["float", "half", "int32", "bool"]
