"""The messages a client exchanges with a model server, without TensorFlow.

`tensorflow_serving.apis` imports the `tensorflow` package (seconds, half a gigabyte) for the sake
of a few message classes. These are the same messages as far as a client needs them: same field
numbers and types, in a descriptor pool of their own, so that both can live in one process. Message
names never travel on the wire; maps are written as what they are there, repeated key-value entries.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "float_val": (5, "repeated float"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "bool_val": (11, "repeated bool"),
    },
    "TensorEntry": {"key": (1, "string"), "value": (2, "Tensor")},
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "signature_name": (3, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "repeated TensorEntry")},
    "PredictResponse": {"outputs": (1, "repeated TensorEntry"), "model_spec": (2, "ModelSpec")},
    "Status": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "VersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "Status")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "repeated VersionStatus")},
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "TensorInfoEntry": {"key": (1, "string"), "value": (2, "TensorInfo")},
    "SignatureDef": {
        "inputs": (1, "repeated TensorInfoEntry"),
        "outputs": (2, "repeated TensorInfoEntry"),
    },
    "SignatureDefEntry": {"key": (1, "string"), "value": (2, "SignatureDef")},
    "SignatureDefMap": {"signature_def": (1, "repeated SignatureDefEntry")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "AnyEntry": {"key": (1, "string"), "value": (2, "Any")},
    "GetModelMetadataRequest": {
        "model_spec": (1, "ModelSpec"),
        "metadata_field": (2, "repeated string"),
    },
    "GetModelMetadataResponse": {
        "model_spec": (1, "ModelSpec"),
        "metadata": (2, "repeated AnyEntry"),
    },
}
"""Message name to field name to (number, type)."""


def _build() -> dict[str, Any]:
    package = "debut.wire"
    file = descriptor_pb2.FileDescriptorProto(
        name="debut/wire.proto", package=package, syntax="proto3"
    )
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            entry = message.field.add(name=field, number=number)
            entry.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _SCALARS:
                entry.type = _SCALARS[kind]
            else:
                entry.type = _Field.TYPE_MESSAGE
                entry.type_name = f".{package}.{kind}"
    # The stubs of protobuf 3.20 leave the pool's methods untyped.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory: Any = message_factory.MessageFactory(pool)
    return {
        name: factory.GetPrototype(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in SCHEMA
    }


MESSAGES: dict[str, Any] = _build()
"""Message name to class."""
