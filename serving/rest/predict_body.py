"""REST Predict bodies: rows or columns to a request, and a response back in kind.

`instances` holds rows (one element per example), `inputs` columns (one tensor per input), never
both; the answers are `predictions` and `outputs`. A signature with one input or output leaves its
name out. Outputs whose name ends in `_bytes` are written as `{"b64": ...}`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.rest.json_tensors import FIELDS, INTEGERS, JsonTensor, is_base64
from serving.rest.json_writer import PrettyWriter, debug_string, decimal, quote
from serving.rest.rapid_json import c_string
from serving.runtime.tensors import dtype_name
from serving.status import StatusError, invalid_argument


def fill_request(
    request: predict_pb2.PredictRequest, document: Mapping[str, Any], inputs: Mapping[str, Any]
) -> bool:
    """Fills `request.inputs` from a body.

    Args:
        request: the message to fill.
        document: the parsed body.
        inputs: the signature's inputs, alias to `TensorInfo`.

    Returns:
        whether the body was in rows.
    """
    if "instances" in document and "inputs" in document:
        raise invalid_argument(
            f"JSON Value: {debug_string(document)} Not formatted correctly expecting only one of"
            " 'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid_argument(
                f"JSON Value: {debug_string(document)} Expecting 'instances' to be an list/array"
            )
        if not rows:
            raise invalid_argument(
                f"JSON Value: {debug_string(document)} No values in 'instances' array"
            )
        _fill_rows(request, rows, inputs)
        return True
    if "inputs" in document:
        _fill_columns(request, document["inputs"], inputs)
        return False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _fill_rows(
    request: predict_pb2.PredictRequest, rows: list[Any], inputs: Mapping[str, Any]
) -> None:
    if not isinstance(rows[0], dict) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    only = next(iter(inputs))
    tensors = {alias: JsonTensor(info) for alias, info in inputs.items()}
    for at, row in enumerate(rows):
        if _is_named(row) != named:
            raise invalid_argument(
                f"Expecting object but got list at item {at} of input list"
                if named
                else f"Expecting value/list but got object at item {at} of input list"
            )
        if named:
            _add_named_row(tensors, row, at)
            continue
        try:
            tensors[only].add_row(row)
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {at} of 'instances' list. Error: {error}"
            ) from error
    for alias, tensor in tensors.items():
        if tensor.size is not None:  # rows of bytes alone are of one input, however many there are
            tensor.write(request.inputs[alias], [len(rows), *tensor.shape])


def _add_named_row(tensors: Mapping[str, JsonTensor], row: Mapping[str, Any], at: int) -> None:
    given = set()
    for key, value in row.items():  # of equal keys each adds its value, and the shape cuts the rest
        alias = c_string(key)
        given.add(alias)
        try:
            if alias not in tensors:
                raise invalid_argument(f"JSON object: does not have named input: {alias}")
            tensors[alias].add_row(value)
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {at} key: {alias} of 'instances' list. Error: {error}"
            ) from error
    if given != tensors.keys():
        raise invalid_argument(
            f"Failed to process element: {at} of 'instances' list. JSON object:"
            f" {debug_string(row)} keys must be equal to: {','.join(sorted(tensors))}"
        )


def _fill_columns(
    request: predict_pb2.PredictRequest, columns: Any, inputs: Mapping[str, Any]
) -> None:
    if not _is_named(columns):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors"
                " required as per tensorinfo_map"
            )
        columns = {next(iter(inputs)): columns}
    for alias in sorted(inputs):
        if alias not in columns:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        tensor = JsonTensor(inputs[alias])
        _, shape = tensor.add(columns[alias])
        tensor.write(request.inputs[alias], shape)


def response_json(response: predict_pb2.PredictResponse, *, rows: bool) -> str:
    """The body of a Predict answer."""
    writer = PrettyWriter()
    writer.start("{")
    if rows:
        _write_rows(writer, response.outputs)
    else:
        _write_columns(writer, response.outputs)
    writer.end("}")
    return writer.text()


def _write_rows(writer: PrettyWriter, outputs: Mapping[str, Any]) -> None:
    size: int | None = None
    for alias in sorted(outputs):
        dims = outputs[alias].tensor_shape.dim
        if not dims:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if size is not None and size != dims[0].size:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {dims[0].size}"
                f" expecting: {size}"
            )
        size = dims[0].size
    # Backwards: of two outputs without a JSON form the stock server names whichever its hash map
    # has first, in the recordings the last one by name for rows, and the first one for columns.
    written = {alias: _tokens(alias, outputs[alias]) for alias in sorted(outputs, reverse=True)}
    tokens = {alias: iter(written[alias]) for alias in sorted(outputs)}
    shapes = {alias: [d.size for d in outputs[alias].tensor_shape.dim][1:] for alias in tokens}
    binary = {alias for alias in tokens if _is_binary(alias, outputs[alias])}
    writer.string("predictions")
    writer.start("[")
    for _ in range(size or 0):
        if len(tokens) > 1:
            writer.start("{")
        writer.single_line = True
        for alias, values in tokens.items():
            if len(tokens) > 1:
                writer.string(alias)
            _write_tensor(writer, values, shapes[alias], binary=alias in binary)
        writer.single_line = False
        if len(tokens) > 1:
            writer.end("}")
    writer.end("]")


def _write_columns(writer: PrettyWriter, outputs: Mapping[str, Any]) -> None:
    writer.string("outputs")
    if len(outputs) > 1:
        writer.start("{")
    for alias in sorted(outputs):
        if len(outputs) > 1:
            writer.string(alias)
        tensor = outputs[alias]
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        values = iter(_tokens(alias, tensor))
        _write_tensor(writer, values, shape, binary=_is_binary(alias, tensor))
    if len(outputs) > 1:
        writer.end("}")


def _write_tensor(
    writer: PrettyWriter, values: Iterator[str], shape: list[int], *, binary: bool
) -> None:
    if not shape:
        if binary:
            writer.start("{")
            writer.string("b64")
        writer.raw(next(values))
        if binary:
            writer.end("}")
    elif len(shape) == 1 and not binary:
        writer.tokens([next(values) for _ in range(shape[0])])
    else:
        writer.start("[")
        for _ in range(shape[0]):
            _write_tensor(writer, values, shape[1:], binary=binary)
        writer.end("]")


def _tokens(alias: str, tensor: Any) -> list[str]:
    """Every value of a tensor as a JSON token."""
    dtype = tensor.dtype
    if dtype == types_pb2.DT_FLOAT:
        return [decimal(value, np.float32) for value in tensor.float_val]
    if dtype == types_pb2.DT_DOUBLE:
        return [decimal(value) for value in tensor.double_val]
    if dtype == types_pb2.DT_BOOL:
        return ["true" if value else "false" for value in tensor.bool_val]
    if dtype == types_pb2.DT_STRING and _is_binary(alias, tensor):
        return [quote(base64.b64encode(value).decode()) for value in tensor.string_val]
    if dtype == types_pb2.DT_STRING:
        return [quote(value.decode("utf-8", "surrogateescape")) for value in tensor.string_val]
    if dtype in INTEGERS:
        return [str(value) for value in getattr(tensor, FIELDS[dtype])]
    if any(dim.size == 0 for dim in tensor.tensor_shape.dim):
        return []  # the stock server looks at the type when there is a value to write
    raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype_name(dtype)}")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _is_binary(alias: str, tensor: Any) -> bool:
    return tensor.dtype == types_pb2.DT_STRING and alias.endswith("_bytes")
